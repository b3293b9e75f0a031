/** The page comes alive. */
import { all, embedded, one } from "./dom.js";
import { enhanceTable } from "./tables.js";
import { inPalette, readPixels } from "./pixels.js";
import { enhanceSlides } from "./slides.js";
import { enhanceColumns } from "./columns.js";
import { enhanceChart } from "./charts.js";
import { followLinks, followReading } from "./links.js";

const pageSettings = embedded("settings");
document.documentElement.classList.add("js");
all(".plate.table").forEach(enhanceTable);
all(".plate.chart").forEach((section) => enhanceChart(section, pageSettings));
const slideTissues = all(".plate.slides").flatMap((section) => enhanceSlides(section, pageSettings.colours.factors));
followLinks([...slideTissues, ...all(".plate.columns").flatMap(enhanceColumns)]);
followReading();

document.addEventListener("atlas:palette", (event) => {
  const palette = /** @type {CustomEvent<string>} */ (event).detail;
  for (const element of all(".specimen")) {
    const image = /** @type {HTMLImageElement} */ (element);
    image.dataset.rgb ??= image.src;
    const original = new Image();
    original.src = image.dataset.rgb;
    void readPixels(original).then((pixels) => {
      const drawn = inPalette(pixels, palette, pageSettings.colours.factors[palette]);
      image.src = drawn instanceof HTMLCanvasElement ? drawn.toDataURL() : image.dataset.rgb ?? "";
    });
  }
});
const wide = window.matchMedia("(min-width: 1240px)");
const contents = /** @type {HTMLDetailsElement} */ (one(".contents-list"));
const unfoldContents = () => (contents.open = wide.matches);
wide.addEventListener("change", unfoldContents);
contents.addEventListener("click", (event) => {
  if (!wide.matches && /** @type {HTMLElement} */ (event.target).closest("a")) contents.open = false;
});
unfoldContents();
document.documentElement.dataset.ready = "yes";
