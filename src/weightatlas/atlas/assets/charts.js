/** Charts: the library is inflated when the page is idle or a chart is near; each is drawn in the page's own colours. */
import { embedded, one, save } from "./dom.js";
import { csv } from "./csv.js";

/** @typedef {{ finalize: () => void, view: { toSVG: () => Promise<string>, toImageURL: (type: string, scale: number) => Promise<string> } }} Drawn */
/** @typedef {(place: HTMLElement, spec: object, options: object) => Promise<Drawn>} Embed */

/** @type {Promise<Embed> | undefined} */
let arriving;

/** @type {Set<() => void>} charts not yet drawn: once the library is here they follow, so that print has all of them */
const undrawn = new Set();
const whenIdle = window.requestIdleCallback ?? ((/** @type {() => void} */ work) => setTimeout(work, 500));

/** Inflate the library and run it. @returns {Promise<Embed>} */
async function inflate() {
  const packed = (document.getElementById("chart-library")?.textContent ?? "").trim();
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const script = document.createElement("script");
  script.type = "module";
  script.textContent = await new Response(stream).text();
  return new Promise((resolve) => {
    const hand = (/** @type {Event} */ event) => resolve(/** @type {CustomEvent<Embed>} */ (event).detail);
    window.addEventListener("atlas:charts", hand, { once: true });
    document.head.append(script);
  });
}

/** The library, inflated once however many charts ask. @returns {Promise<Embed>} */
const library = () => (arriving ??= inflate());

/**
 * The same specification with the palette's colours exchanged for those of a dark page.
 * @param {unknown} part
 * @param {{ dark: Record<string, string>, scales: string[][] }} colours
 * @returns {unknown}
 */
function darkened(part, colours) {
  if (typeof part === "string") return colours.dark[part.toLowerCase()] ?? part;
  if (Array.isArray(part)) {
    if (colours.scales.some((scale) => scale.join() === part.join())) return part;
    return part.map((item) => darkened(item, colours));
  }
  if (part && typeof part === "object")
    return Object.fromEntries(
      Object.entries(part).map(([key, value]) => [key, key === "data" || key === "datasets" ? value : darkened(value, colours)]),
    );
  return part;
}

/**
 * @param {HTMLElement} section
 * @param {{ colours: { dark: Record<string, string>, scales: string[][] }, themes: Record<string, object> }} settings
 */
export function enhanceChart(section, settings) {
  const { spec, fields, rows, name, compound, theme } = embedded(`data-${section.dataset.plate}`);
  const frame = /** @type {HTMLElement} */ (one(".chart-frame", section));
  const place = /** @type {HTMLElement} */ (one(".chart-canvas", section));
  const night = window.matchMedia("(prefers-color-scheme: dark)");
  /** @type {Drawn | null} */ let drawn = null;
  let wanted = false;

  /**
   * @param {HTMLElement} where
   * @param {boolean} dark
   */
  async function embed(where, dark) {
    const vegaEmbed = await library();
    return vegaEmbed(where, dark ? darkened(spec, settings.colours) : spec, {
      actions: false,
      ast: true, // the policy forbids code made from text
      config: settings.themes[(dark ? "dark" : "light") + theme],
      defaultStyle: false,
      mode: "vega-lite",
      renderer: "svg",
      tooltip: { disableDefaultStyle: true },
    });
  }

  async function draw() {
    wanted = true;
    undrawn.delete(begin);
    try {
      drawn?.finalize();
      drawn = await embed(place, night.matches);
      // A layer of marks without any would be announced as an image without a name.
      for (const group of place.querySelectorAll('g[role]:empty')) group.removeAttribute("role");
      const svg = /** @type {SVGElement | null} */ (place.querySelector("svg"));
      if (svg && compound) svg.style.minWidth = `${Math.min(Number(svg.getAttribute("width")), 560)}px`;
      if (frame.scrollWidth > frame.clientWidth) frame.tabIndex = 0;
      frame.dataset.drawn = night.matches ? "dark" : "light";
      const [next] = undrawn;
      if (next) setTimeout(next, 200);
    } catch (error) {
      place.textContent = `This figure could not be drawn: ${error instanceof Error ? error.message : error}. Its data are below.`;
    }
  }

  const watcher = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && begin(), {
    rootMargin: "400px 0px",
  });
  function begin() {
    watcher.disconnect();
    if (!wanted) void draw();
  }
  undrawn.add(begin);
  whenIdle(begin); // a page that is only printed or pictured has its charts, too
  watcher.observe(frame);
  window.addEventListener("beforeprint", begin);
  night.addEventListener("change", () => wanted && void draw());

  section.addEventListener("click", async (event) => {
    const format = /** @type {HTMLElement} */ (event.target).closest(".download")?.getAttribute("data-format");
    if (format === "csv") save(`${name}.csv`, csv(fields, rows));
    if (format !== "svg" && format !== "png") return;
    const aside = document.createElement("div"); // on paper the theme is always the light one
    aside.style.cssText = `position:absolute;left:-9999px;width:${frame.clientWidth}px`;
    document.body.append(aside);
    const copy = await embed(aside, false);
    if (format === "svg") save(`${name}.svg`, new Blob([await copy.view.toSVG()], { type: "image/svg+xml" }));
    else {
      const address = await copy.view.toImageURL("png", 2);
      const bytes = Uint8Array.from(atob(address.split(",")[1]), (letter) => letter.charCodeAt(0));
      save(`${name}.png`, new Blob([bytes], { type: "image/png" }));
    }
    copy.finalize();
    aside.remove();
  });
}
