import { codeBlocks, type DecodePlane, decodePlaneCode } from "../formats/index.js";
import { openPlaneDecoder } from "../ggml/index.js";

/**
 * What coded planes are decoded by: the kernels, several times as fast, and JavaScript where there are none. What the kernels refuse it
 * looks at as well, and says what is wrong.
 *
 * @param kernelsFile the library of kernels, or null
 */
export function planeDecoding(kernelsFile: string | null): DecodePlane {
  if (kernelsFile === null) return decodePlaneCode;
  const decode = openPlaneDecoder(kernelsFile);
  return (form, code, into) => {
    const { dtype, shape } = form;
    if (!decode({ ...shape, ...codeBlocks(dtype) }, code, into)) decodePlaneCode(form, code, into);
  };
}
