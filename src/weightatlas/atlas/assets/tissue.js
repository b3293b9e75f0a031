/** One layer's tissue: which unit stands where, and its canvas. */
import { make, one } from "./dom.js";
import { inPalette, readPixels } from "./pixels.js";

const FOLDED_ROWS = 4;
const FOLDS_FROM = 7;
const LONGEST_CANVAS = 16000;

/**
 * @typedef {{ layer: string, anchor: string, marked: boolean, units: number, height: number, width: number,
 *   columns: number, order: number[], measures: Record<string, (number | null)[]>, labels?: Record<string, string[]>,
 *   numbers?: number[] }} LayerData
 * @typedef {{ sort: string, zoom: number, room: number, palette: string, factors: Record<string, number[][]> }} Settings
 * @typedef {{ magnified: number, cellWidth: number, cellHeight: number, gap: number, columns: number, rows: number,
 *   ratio: number }} Layout
 */

/**
 * Layers have 64, 128, 256 units: a multiple of eight leaves no stragglers, where it costs little room.
 * @param {number} columns
 */
const even = (columns) => (columns % 8 <= columns / 6 ? columns - (columns % 8) : columns);

export class Tissue {
  /**
   * @param {HTMLElement} article
   * @param {LayerData} data
   * @param {Settings} settings
   */
  constructor(article, data, settings) {
    this.article = article;
    /** The element that the layer's link leads to. */ this.home = article;
    this.data = data;
    this.settings = settings;
    this.open = false;
    this.near = false;
    /** @type {number | null} */ this.chosen = null;
    /** @type {import("./pixels.js").Pixels | null} */ this.pixels = null;
    this.place = new Map(data.order.map((unit, position) => [unit, position]));
    this.image = /** @type {HTMLImageElement} */ (one(".sheet", article));
    this.canvas = /** @type {HTMLCanvasElement} */ (
      make("canvas", {
        tabindex: "0",
        role: "application",
        "aria-roledescription": "tissue slide",
        "aria-label": `${data.layer}: ${data.units} units. Arrow keys move from unit to unit, Enter links to one.`,
      })
    );
    this.ring = make("div", { class: "ring", hidden: "" });
    this.pin = make("div", { class: "ring pin", hidden: "" });
    this.frame = make("div", { class: "tissue-frame" }, this.canvas, this.pin, this.ring);
    this.image.before(this.frame);
    this.more = one(".more", article);
    this.more?.addEventListener("click", () => this.unfold(!this.open));
    this.sorted = this.sort();
    this.layout = this.measure();
  }

  /** Units in the order in which they are shown. */
  sort() {
    const { order, measures, units, labels } = this.data;
    const key = this.settings.sort;
    if (key === " index") return Array.from({ length: units }, (_, unit) => unit);
    const texts = labels?.[key];
    if (texts) return [...order].sort((a, b) => texts[a].localeCompare(texts[b], "en"));
    const values = measures[key];
    if (!values) return order;
    const known = order.filter((unit) => values[unit] !== null);
    known.sort((a, b) => Number(values[b]) - Number(values[a]));
    return [...known, ...order.filter((unit) => values[unit] === null)];
  }

  /** @returns {Layout} everything in device pixels, so that a weight is a whole number of them */
  measure() {
    const { width, height } = this.data;
    const units = this.sorted.length;
    const ratio = window.devicePixelRatio || 1;
    const room = Math.max(1, Math.floor(this.settings.room * ratio));
    const wanted = this.settings.zoom * ratio;
    let magnified = this.magnification(wanted, room);
    for (;;) {
      const gap = Math.max(1, Math.round(Math.min(wanted, magnified * width) / 7));
      const cellWidth = Math.ceil(width * magnified) + gap;
      const cellHeight = Math.ceil(height * magnified) + gap;
      const columns = Math.max(1, Math.min(units, even(Math.floor((room + gap) / cellWidth))));
      const rows = Math.ceil(units / columns);
      if (rows * cellHeight <= LONGEST_CANVAS || magnified <= 1)
        return { magnified, cellWidth, cellHeight, gap, columns, rows, ratio };
      magnified -= 1;
    }
  }

  /**
   * How many device pixels a weight is wide.
   * @param {number} wanted device pixels of a unit
   * @param {number} room device pixels of the canvas
   */
  magnification(wanted, room) {
    const { width } = this.data;
    return Math.max(1, Math.min(Math.round(wanted / width), Math.floor(room / width)));
  }

  get shownRows() {
    const { rows } = this.layout;
    return this.open || rows < FOLDS_FROM ? rows : FOLDED_ROWS;
  }

  get shownUnits() {
    return Math.min(this.sorted.length, this.shownRows * this.layout.columns);
  }

  /** Work out the layout again and give the canvas its size on the page. */
  update() {
    this.sorted = this.sort();
    this.layout = this.measure();
    const { columns, cellWidth, cellHeight, gap, rows, ratio } = this.layout;
    this.canvas.style.width = `${(columns * cellWidth - gap) / ratio}px`;
    this.canvas.style.height = `${(this.shownRows * cellHeight - gap) / ratio}px`;
    if (this.more) {
      this.more.hidden = rows < FOLDS_FROM;
      this.more.textContent = this.open ? "Show the first rows only" : `Show all ${this.data.units} units`;
      this.more.setAttribute("aria-expanded", String(this.open));
    }
    this.ringUnit(this.pin, this.chosen);
    this.ring.hidden = true;
    if (this.near) void this.draw();
  }

  /** @param {boolean} open */
  unfold(open) {
    this.open = open;
    this.update();
  }

  /** Draw every unit that is shown. */
  async draw() {
    this.pixels ??= await readPixels(this.image);
    const { columns, cellWidth, cellHeight, gap, magnified } = this.layout;
    const { width, height } = this.data;
    const sheet = inPalette(this.pixels, this.settings.palette, this.settings.factors[this.settings.palette]);
    this.canvas.width = columns * cellWidth - gap;
    this.canvas.height = this.shownRows * cellHeight - gap;
    const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    context.imageSmoothingEnabled = magnified < 1;
    context.fillStyle = getComputedStyle(this.article).getPropertyValue("--ground"); // units part from each other at night
    for (let position = 0; position < this.shownUnits; position += 1) {
      const [left, top] = this.onSheet(this.sorted[position]);
      const x = (position % columns) * cellWidth;
      const y = Math.floor(position / columns) * cellHeight;
      context.fillRect(x, y, cellWidth, cellHeight);
      context.drawImage(sheet, left, top, width, height, x, y, width * magnified, height * magnified);
    }
    this.canvas.dataset.drawn = this.settings.palette;
  }

  /** Draw when the reader comes near, and give the memory back when they leave. @param {boolean} near */
  approach(near) {
    this.near = near;
    if (near) void this.draw();
    else {
      this.canvas.width = 0;
      delete this.canvas.dataset.drawn;
    }
  }

  /**
   * Where a unit lies on the sheet.
   * @param {number} unit
   * @returns {[number, number]}
   */
  onSheet(unit) {
    const position = this.place.get(unit) ?? 0;
    const { columns, width, height } = this.data;
    return [(position % columns) * (width + 1), Math.floor(position / columns) * (height + 1)];
  }

  /**
   * The unit at a point of the canvas, and the weight position in it.
   * @param {number} x
   * @param {number} y
   * @returns {{ unit: number, column: number, row: number } | null}
   */
  at(x, y) {
    const { cellWidth, cellHeight, columns, ratio, magnified } = this.layout;
    const across = Math.floor((x * ratio) / cellWidth);
    const position = Math.floor((y * ratio) / cellHeight) * columns + across;
    if (x < 0 || y < 0 || across >= columns || position >= this.shownUnits) return null;
    const column = Math.min(this.data.width - 1, Math.floor(((x * ratio) % cellWidth) / magnified));
    const row = Math.min(this.data.height - 1, Math.floor(((y * ratio) % cellHeight) / magnified));
    return { unit: this.sorted[position], column, row };
  }

  /**
   * Where a unit is drawn, in the page's pixels from the canvas's corner.
   * @param {number} unit
   */
  box(unit) {
    const { cellWidth, cellHeight, columns, gap, ratio } = this.layout;
    const position = this.sorted.indexOf(unit);
    return {
      left: ((position % columns) * cellWidth) / ratio,
      top: (Math.floor(position / columns) * cellHeight) / ratio,
      width: (cellWidth - gap) / ratio,
      height: (cellHeight - gap) / ratio,
    };
  }

  /** @param {number} unit */
  shows(unit) {
    const position = this.sorted.indexOf(unit);
    return position >= 0 && position < this.shownUnits;
  }

  /** What a unit is called. @param {number} unit */
  called(unit) {
    return `unit ${this.data.numbers?.[unit] ?? unit}`;
  }

  /** The unit of a number, or -1. @param {number} number */
  numbered(number) {
    if (this.data.numbers) return this.data.numbers.indexOf(number);
    return number < this.data.units ? number : -1;
  }

  /** The link to a unit. @param {number} unit */
  link(unit) {
    return `${this.data.anchor.replace(/layer\/([^/]*)$/, "unit/$1")}/${this.data.numbers?.[unit] ?? unit}`;
  }

  /**
   * Put a ring around a unit, or take it away.
   * @param {HTMLElement} ring
   * @param {number | null} unit
   */
  ringUnit(ring, unit) {
    ring.hidden = unit === null || !this.shows(unit);
    if (unit === null || ring.hidden) return;
    const box = this.box(unit);
    for (const side of /** @type {const} */ (["left", "top", "width", "height"])) ring.style[side] = `${box[side]}px`;
  }

  /** Show a unit wherever it is, with a ring that stays. @param {number} unit */
  choose(unit) {
    this.chosen = unit;
    if (!this.shows(unit)) this.unfold(true);
    this.update();
  }
}
