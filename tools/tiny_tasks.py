"""Writes the test items that the embedded fine-tunes are scored on: python tiny_tasks.py TASKS_FOLDER OUT_FOLDER

TASKS_FOLDER holds the `tasks.py` that the fine-tunes were trained with (a table TASKS: name -> function giving train and test
pairs). Each task's test pairs are shuffled with a fixed seed and the first 300 become one JSON object a line:
{"messages": [{"role": "user", "content": ...}], "answer": ...}
"""
import json
import random
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from tasks import TASKS

out = Path(sys.argv[2])
out.mkdir(parents=True, exist_ok=True)
for name in ("banking77", "clinc", "dates", "roman", "scan", "wikisql"):
    _, test = TASKS[name]()
    random.Random(2).shuffle(test)
    lines = [
        json.dumps({"messages": [{"role": "user", "content": question}], "answer": answer}, ensure_ascii=False)
        for question, answer in test[:300]
    ]
    (out / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    print(name, len(lines), "items")
