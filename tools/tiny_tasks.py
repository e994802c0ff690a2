"""Writes the test items that the embedded fine-tunes are scored on, and training items to calibrate on:
python tiny_tasks.py TASKS_FOLDER models/tiny

TASKS_FOLDER holds the `tasks.py` that the fine-tunes were trained with (a table TASKS: name -> function giving train and test
pairs). Each task's test pairs are shuffled with a fixed seed and the first 300 become OUT/tasks/TASK.jsonl, one JSON object a line:
{"messages": [{"role": "user", "content": ...}], "answer": ...}; 128 training pairs whose questions are not among them become
OUT/calibration/TASK.jsonl.
"""
import json
import random
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from tasks import TASKS

out = Path(sys.argv[2])


def write(kind, name, pairs):
    (out / kind).mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"messages": [{"role": "user", "content": question}], "answer": answer}, ensure_ascii=False)
        for question, answer in pairs
    ]
    (out / kind / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    print(kind, name, len(lines), "items")


for name in ("banking77", "clinc", "dates", "roman", "scan", "wikisql"):
    train, test = TASKS[name]()
    random.Random(2).shuffle(test)
    write("tasks", name, test[:300])
    asked = {question for question, _ in test[:300]}
    write("calibration", name, random.Random(7).sample([pair for pair in train if pair[0] not in asked], 128))
