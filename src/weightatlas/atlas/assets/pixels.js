/** Sprite sheets as pixels, and the same in another palette. */

/** @typedef {{ width: number, height: number, data: Uint8ClampedArray, drawn: Record<string, CanvasImageSource> }} Pixels */

/**
 * @param {HTMLImageElement} image
 * @returns {Promise<Pixels>}
 */
export async function readPixels(image) {
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return { width: canvas.width, height: canvas.height, data, drawn: { rgb: image } };
}

/**
 * The sheet with its three factors in other colours: every pixel is their mixture, as light adds.
 * @param {Pixels} pixels
 * @param {string} name
 * @param {number[][]} factors red, green, blue of each factor
 * @returns {CanvasImageSource}
 */
export function inPalette(pixels, name, factors) {
  if (pixels.drawn[name]) return pixels.drawn[name];
  const { width, height, data } = pixels;
  const mixed = new Uint8ClampedArray(data.length);
  for (let at = 0; at < data.length; at += 4) {
    for (let channel = 0; channel < 3; channel += 1) {
      let light = 0;
      for (let factor = 0; factor < 3; factor += 1) light += (data[at + factor] * factors[factor][channel]) / 255;
      mixed[at + channel] = light;
    }
    mixed[at + 3] = data[at + 3];
  }
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d")?.putImageData(new ImageData(mixed, width, height), 0, 0);
  pixels.drawn[name] = canvas;
  return canvas;
}
