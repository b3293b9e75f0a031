/** A plate of tissue slides: every layer's canvas, and the controls that all of them share. */
import { all, counted, embedded, onceAFrame, one, save } from "./dom.js";
import { csv } from "./csv.js";
import { enhanceTissue } from "./inspector.js";
import { Tissue } from "./tissue.js";

const KEPT = 80;

/**
 * @param {HTMLElement} section
 * @param {Record<string, number[][]>} factors
 * @returns {Tissue[]}
 */
export function enhanceSlides(section, factors) {
  const data = embedded(`data-${section.dataset.plate}`);
  const settings = { sort: "", zoom: 21, room: 300, palette: "rgb", factors };
  const articles = all("article.layer", section);
  const tissues = articles.flatMap((article) => {
    const layer = data.layers[Number(article.dataset.layer)];
    return layer.units ? [new Tissue(article, layer, settings)] : [];
  });
  function update() {
    const shown = tissues.find((tissue) => !tissue.article.hidden);
    settings.room = shown?.frame.parentElement?.clientWidth || settings.room; // read once, before anything is written
    for (const tissue of tissues) tissue.update();
  }

  keepDrawn(section, tissues, update);
  enhanceChoices(section, (choice, value) => {
    if (choice === "sort") settings.sort = value;
    else if (choice === "zoom") settings.zoom = Number(value);
    else settings.palette = value;
    update();
    section.dispatchEvent(new CustomEvent("atlas:palette", { bubbles: true, detail: settings.palette }));
  });

  const filter = /** @type {HTMLInputElement | null} */ (one(".filter", section));
  const only = one(".only-marked", section);
  function choose() {
    const words = (filter?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const markedOnly = only?.getAttribute("aria-pressed") === "true";
    let shown = 0;
    let units = 0;
    for (const article of articles) {
      const layer = data.layers[Number(article.dataset.layer)];
      const fits = words.every((word) => layer.layer.toLowerCase().includes(word)) && (!markedOnly || layer.marked);
      article.hidden = !fits;
      shown += Number(fits);
      units += fits ? layer.units : 0;
    }
    const count = one(".count", section);
    const of = shown < articles.length ? `${shown} of ` : "";
    if (count) count.textContent = `${of}${counted(articles.length, "layer")}, ${counted(units, "unit")}`;
    const none = one(".no-match", section);
    if (none) none.hidden = shown > 0;
  }
  filter?.addEventListener("input", choose);
  only?.addEventListener("click", () => {
    only.setAttribute("aria-pressed", String(only.getAttribute("aria-pressed") !== "true"));
    choose();
  });
  section.addEventListener("atlas:reveal", () => {
    if (filter) filter.value = "";
    only?.setAttribute("aria-pressed", "false");
    choose();
  });
  one("[data-format=csv]", section)?.addEventListener("click", () => save(`${data.name}.csv`, unitsTable(data)));
  one("[data-format=png]", section)?.addEventListener("click", () => {
    void picture(tissues.filter((tissue) => !tissue.article.hidden)).then((blob) => blob && save(`${data.name}.png`, blob));
  });
  return tissues;
}

/**
 * Draw what the reader comes near, and all of it again when the window or its colours change.
 * @param {HTMLElement} section
 * @param {Tissue[]} tissues
 * @param {() => void} update lays all of them out again
 */
export function keepDrawn(section, tissues, update) {
  const byArticle = new Map(tissues.map((tissue) => [/** @type {Element} */ (tissue.article), tissue]));
  const few = tissues.length <= KEPT; // what is drawn stays; beyond that, memory is given back out of sight
  const watcher = new IntersectionObserver(
    (entries) => entries.forEach((entry) => byArticle.get(entry.target)?.approach(few || entry.isIntersecting)),
    { rootMargin: "800px 0px" },
  );
  for (const tissue of tissues) {
    enhanceTissue(tissue);
    watcher.observe(tissue.article);
  }
  update();
  let width = section.clientWidth;
  const widened = onceAFrame(() => {
    if (section.clientWidth === width) return; // our own drawing changes the height, never the width
    width = section.clientWidth;
    update();
  });
  new ResizeObserver(widened).observe(section);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", update);
  window.addEventListener("beforeprint", () => tissues.forEach((tissue) => tissue.approach(true)));
}

/**
 * The reader's choices: one button of each group is pressed.
 * @param {HTMLElement} section
 * @param {(choice: string, value: string) => void} chosen
 */
export function enhanceChoices(section, chosen) {
  for (const choice of all(".choice", section)) {
    choice.addEventListener("click", (event) => {
      const button = /** @type {HTMLElement} */ (event.target).closest("button");
      if (!button) return;
      for (const other of all("button", choice)) other.setAttribute("aria-pressed", String(other === button));
      chosen(choice.dataset.choice ?? "", button.dataset.value ?? "");
    });
  }
}

/** @param {{ layers: import("./tissue.js").LayerData[] }} data */
function unitsTable(data) {
  const names = [...new Set(data.layers.flatMap((layer) => Object.keys(layer.measures)))];
  const rows = data.layers.flatMap((layer) =>
    Array.from({ length: layer.units }, (_, unit) => [layer.layer, unit, ...names.map((name) => layer.measures[name]?.[unit] ?? null)]),
  );
  return csv(["layer", "unit", ...names], rows);
}

/**
 * What is shown, as one picture on white, every layer under its name.
 * @param {Tissue[]} tissues
 * @returns {Promise<Blob | null>}
 */
async function picture(tissues) {
  const scale = window.devicePixelRatio || 1;
  const line = 26 * scale;
  for (const tissue of tissues) await tissue.draw();
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, ...tissues.map((tissue) => tissue.canvas.width)) + 16 * scale;
  canvas.height = Math.min(
    32000,
    tissues.reduce((sum, tissue) => sum + tissue.canvas.height + 2 * line, line),
  );
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.font = `600 ${13 * scale}px sans-serif`;
  let top = line;
  for (const tissue of tissues) {
    context.fillStyle = "#1a1a18";
    context.fillText(tissue.data.layer, 8 * scale, top);
    context.drawImage(tissue.canvas, 8 * scale, top + line / 3);
    top += tissue.canvas.height + 2 * line;
    if (!tissue.near) tissue.approach(false);
  }
  return new Promise((resolve) => canvas.toBlob(resolve));
}
