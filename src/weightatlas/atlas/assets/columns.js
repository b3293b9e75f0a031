/** A plate of units in columns: a canvas a branch, all branches of a layer at one scale and folded alike. */
import { all, embedded, one, save } from "./dom.js";
import { csv } from "./csv.js";
import { enhanceChoices, keepDrawn } from "./slides.js";
import { Tissue } from "./tissue.js";

const ROWS_UNFOLDED = 14;
const ROWS_FOLDED = 10;

/** @typedef {import("./tissue.js").LayerData & { title: string, numbers: number[], labels: Record<string, string[]> }} ColumnData */

class ColumnTissue extends Tissue {
  /** Folded, every so many units are left: the lengths of columns stay those of branches. */
  sort() {
    return super.sort().filter((_, position) => position % this.settings.every === 0);
  }

  /**
   * @param {number} wanted
   * @param {number} room
   */
  magnification(wanted, room) {
    const { widest } = this.settings;
    const most = Math.min(Math.round(wanted / widest), Math.floor(room / widest));
    if (most >= 1 && wanted / widest > 0.8) return most;
    return Math.min(0.5, room / widest); // a picture of a unit may shrink; a weight of a kernel stays a pixel
  }

  get shownRows() {
    return this.layout.rows;
  }

  /** @param {boolean} open */
  unfold(open) {
    this.settings.unfold(open);
  }
}

/** One layer: its columns and the button that unfolds all of them. */
class Group {
  /**
   * @param {HTMLElement} article
   * @param {{ layer: string, widest: number, size: number, columns: ColumnData[] }} data
   * @param {{ sort: string, zoom: number }} choices
   */
  constructor(article, data, choices) {
    this.data = data;
    this.choices = choices;
    this.open = false;
    this.more = /** @type {HTMLElement} */ (one(".more", article));
    this.settings = {
      sort: choices.sort,
      zoom: data.size,
      room: 300,
      palette: "rgb",
      factors: {},
      every: 1,
      widest: data.widest,
      unfold: (/** @type {boolean} */ open) => this.unfold(open),
    };
    this.tissues = all(".unit-column", article).flatMap((place) => {
      const column = data.columns[Number(place.dataset.column)];
      if (!column.units) return [];
      const tissue = new ColumnTissue(place, column, this.settings);
      tissue.home = article;
      return [tissue];
    });
    this.more.addEventListener("click", () => this.unfold(!this.open));
  }

  /** @param {boolean} open */
  unfold(open) {
    this.open = open;
    this.update();
  }

  update() {
    const { settings, tissues } = this;
    settings.room = tissues[0]?.frame.parentElement?.clientWidth || settings.room;
    const size = Math.min(this.data.size, settings.room / 2.3); // two side by side, however narrow the column
    Object.assign(settings, { sort: this.choices.sort, zoom: this.choices.zoom * size, every: 1 });
    const rows = Math.max(
      0,
      ...tissues.map((tissue) => {
        tissue.sorted = tissue.sort();
        return tissue.measure().rows;
      }),
    );
    const folds = rows > ROWS_UNFOLDED;
    if (folds && !this.open) settings.every = Math.ceil(rows / ROWS_FOLDED);
    for (const tissue of tissues) tissue.update();
    const units = tissues.reduce((sum, tissue) => sum + tissue.data.units, 0);
    this.more.hidden = !folds;
    this.more.textContent = this.open ? "Show fewer units" : `One unit in ${settings.every} is shown: show all ${units}`;
    this.more.setAttribute("aria-expanded", String(this.open));
  }
}

/**
 * @param {HTMLElement} section
 * @returns {Tissue[]}
 */
export function enhanceColumns(section) {
  const data = embedded(`data-${section.dataset.plate}`);
  const pressed = (/** @type {string} */ name) =>
    one(`[data-choice=${name}] [aria-pressed=true]`, section)?.dataset.value ?? "";
  const choices = { sort: pressed("sort"), zoom: Number(pressed("zoom")) };
  const groups = all("article.group", section).map(
    (article) => new Group(article, data.groups[Number(article.dataset.group)], choices),
  );
  const tissues = groups.flatMap((group) => group.tissues);
  const update = () => groups.forEach((group) => group.update());
  keepDrawn(section, tissues, update);
  enhanceChoices(section, (choice, value) => {
    if (choice === "sort") choices.sort = value;
    else choices.zoom = Number(value);
    update();
  });
  one("[data-format=csv]", section)?.addEventListener("click", () => save(`${data.name}.csv`, columnsTable(data)));
  one("[data-format=png]", section)?.addEventListener("click", () => {
    void columnsPicture(groups).then((blob) => blob && save(`${data.name}.png`, blob));
  });
  return tissues;
}

/** @param {{ groups: { layer: string, columns: ColumnData[] }[] }} data */
function columnsTable(data) {
  const columns = data.groups.flatMap((group) => group.columns);
  const names = [...new Set(columns.flatMap((column) => [...Object.keys(column.measures), ...Object.keys(column.labels)]))];
  const rows = data.groups.flatMap((group) =>
    group.columns.flatMap((column) =>
      column.numbers.map((number, unit) => [
        group.layer,
        column.title,
        number,
        ...names.map((name) => (column.measures[name] ?? column.labels[name])?.[unit] ?? null),
      ]),
    ),
  );
  return csv(["layer", "branch", "unit", ...names], rows);
}

/**
 * What is shown, as one picture on white: every layer under its name, its columns side by side under theirs.
 * @param {Group[]} groups
 * @returns {Promise<Blob | null>}
 */
async function columnsPicture(groups) {
  const scale = window.devicePixelRatio || 1;
  const line = 22 * scale;
  const drawn = groups.filter((group) => group.tissues.length);
  for (const tissue of drawn.flatMap((group) => group.tissues)) await tissue.draw();
  const wide = (/** @type {Tissue} */ tissue) => Math.max(tissue.canvas.width, 96 * scale) + line;
  const tall = (/** @type {Group} */ group) => Math.max(...group.tissues.map((tissue) => tissue.canvas.height)) + 3.5 * line;
  const sum = (/** @type {number[]} */ parts) => parts.reduce((total, part) => total + part, 0);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, ...drawn.map((group) => sum(group.tissues.map(wide)))) + line;
  canvas.height = Math.min(32000, sum(drawn.map(tall)) + line);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = "#1a1a18";
  let top = line;
  for (const group of drawn) {
    context.font = `600 ${13 * scale}px sans-serif`;
    context.fillText(group.data.layer, line / 2, top);
    context.font = `${12 * scale}px sans-serif`;
    let left = line / 2;
    for (const tissue of group.tissues) {
      const { title } = /** @type {ColumnData} */ (tissue.data);
      context.fillText(title, left, top + line, wide(tissue) - line / 2);
      context.drawImage(tissue.canvas, left, top + 1.4 * line);
      left += wide(tissue);
      if (!tissue.near) tissue.approach(false);
    }
    top += tall(group);
  }
  return new Promise((resolve) => canvas.toBlob(resolve));
}
