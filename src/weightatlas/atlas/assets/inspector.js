/** The unit under the pointer or the focus, enlarged, with its figures. */
import { announce, make } from "./dom.js";
import { inPalette } from "./pixels.js";

const ENLARGED = 120;

/** @param {number | null | undefined} value */
const figure = (value) => (value === null || value === undefined ? "none" : String(Number(value.toPrecision(3))).replace("-", "\u2212"));

/** @param {import("./tissue.js").Tissue} tissue */
export function enhanceTissue(tissue) {
  const { canvas, data, settings } = tissue;
  const box = /** @type {HTMLElement} */ (document.getElementById("inspector"));
  /** @type {number | null} */ let current = null;

  /**
   * @param {number} unit
   * @param {{ column: number, row: number } | null} spot
   */
  function show(unit, spot) {
    if (!tissue.pixels) return;
    current = unit;
    const magnified = Math.max(1, Math.round(ENLARGED / Math.max(data.width, data.height)));
    const picture = /** @type {HTMLCanvasElement} */ (make("canvas"));
    picture.width = data.width * magnified;
    picture.height = data.height * magnified;
    const context = /** @type {CanvasRenderingContext2D} */ (picture.getContext("2d"));
    context.imageSmoothingEnabled = false;
    const factors = settings.factors[settings.palette] ?? [];
    const [left, top] = tissue.onSheet(unit);
    const sheet = inPalette(tissue.pixels, settings.palette, factors);
    context.drawImage(sheet, left, top, data.width, data.height, 0, 0, picture.width, picture.height);
    const list = make("dl");
    const measures = Object.entries(data.measures).map(([name, values]) => [name, figure(values[unit])]);
    for (const [name, texts] of Object.entries(data.labels ?? {})) measures.push([name, texts[unit]]);
    for (const [name, value] of measures) list.append(make("dt", {}, name), make("dd", {}, value));
    if (spot && factors.length) {
      const at = ((top + spot.row) * tissue.pixels.width + left + spot.column) * 4;
      list.append(make("dt", { class: "spot" }, "row, column"), make("dd", { class: "spot" }, `${spot.row + 1}, ${spot.column + 1}`));
      factors.forEach((colour, factor) => {
        const swatch = make("span", { class: "swatch", style: `background:rgb(${colour.join(" ")})` });
        const share = /** @type {import("./pixels.js").Pixels} */ (tissue.pixels).data[at + factor] / 255;
        list.append(make("dt", {}, swatch, `factor ${factor + 1}`), make("dd", {}, share.toFixed(2)));
      });
    }
    box.replaceChildren(picture, make("div", {}, make("b", {}, tissue.called(unit)), list));
    box.hidden = false;
    tissue.ringUnit(tissue.ring, unit);
    beside(unit);
    if (!spot) announce([tissue.called(unit), ...measures.map((pair) => pair.join(" "))].join(", "));
  }

  /** Keep the inspector in the window, beside the unit and never over it. @param {number} unit */
  function beside(unit) {
    const frame = canvas.getBoundingClientRect();
    const cell = tissue.box(unit);
    const right = frame.left + cell.left + cell.width + 14;
    const left = frame.left + cell.left - 14 - box.offsetWidth;
    const x = right + box.offsetWidth < window.innerWidth ? right : Math.max(4, left);
    const y = Math.max(4, Math.min(frame.top + cell.top - 10, window.innerHeight - box.offsetHeight - 4));
    box.style.left = `${x}px`;
    box.style.top = `${y}px`;
  }

  function hide() {
    box.hidden = true;
    tissue.ring.hidden = true;
  }

  canvas.addEventListener("pointermove", (event) => {
    const spot = tissue.at(event.offsetX, event.offsetY);
    if (spot) show(spot.unit, spot);
    else hide();
  });
  canvas.addEventListener("pointerleave", hide);
  window.addEventListener("scroll", () => current !== null && !tissue.ring.hidden && beside(current), { passive: true });
  canvas.addEventListener("blur", hide);
  canvas.addEventListener("focus", () => {
    if (canvas.matches(":focus-visible")) show(current ?? tissue.chosen ?? tissue.sorted[0], null);
  });
  canvas.addEventListener("click", (event) => {
    const spot = tissue.at(event.offsetX, event.offsetY);
    if (spot) location.hash = tissue.link(spot.unit);
  });
  canvas.addEventListener("keydown", (event) => {
    const position = tissue.sorted.indexOf(current ?? tissue.chosen ?? tissue.sorted[0]);
    const last = tissue.shownUnits - 1;
    const { columns } = tissue.layout;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -position, End: last - position };
    const step = steps[/** @type {keyof typeof steps} */ (event.key)];
    if (step !== undefined) {
      event.preventDefault();
      const next = position + step;
      if (next >= 0 && next <= last) show(tissue.sorted[next], null);
      tissue.ring.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter") {
      location.hash = tissue.link(tissue.sorted[position]);
    } else if (event.key === "Escape") hide();
  });
}
