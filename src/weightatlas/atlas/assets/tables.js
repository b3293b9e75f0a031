/** Tables: sort, filter, unfold, save. */
import { all, announce, counted, embedded, one, save } from "./dom.js";
import { csv } from "./csv.js";

/**
 * @param {unknown} a
 * @param {unknown} b
 * @returns {number} what is missing stands last, whichever way a column is sorted
 */
function compare(a, b) {
  if (Array.isArray(a) && Array.isArray(b)) {
    const size = (/** @type {number[]} */ shape) => shape.reduce((product, part) => product * part, 1);
    return size(a) - size(b);
  }
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

/** @param {HTMLElement} section */
export function enhanceTable(section) {
  const data = embedded(`data-${section.dataset.plate}`);
  const body = one("tbody", section);
  one(".download", section)?.addEventListener("click", () => save(`${data.name}.csv`, csv(data.fields, data.rows)));
  if (!body) return;
  const rows = /** @type {HTMLTableRowElement[]} */ ([...body.children]);
  const foldAt = rows.findIndex((row) => row.classList.contains("folded"));
  const filter = /** @type {HTMLInputElement | null} */ (one(".filter", section));
  const more = one(".more", section);
  const count = one(".count", section);
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  let shown = rows;
  let open = foldAt < 0;

  function place() {
    const words = (filter?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    let position = 0;
    for (const row of shown) {
      const fits = words.every((word) => texts.get(row)?.includes(word));
      row.hidden = !fits;
      row.classList.toggle("folded", fits && !open && position >= foldAt && !row.classList.contains("marked"));
      if (fits) position += 1;
    }
    if (count) count.textContent = words.length ? `${position} of ${counted(rows.length, "row")}` : counted(rows.length, "row");
    const none = one(".no-match", section);
    if (none) none.hidden = position > 0;
    if (more) {
      more.hidden = position <= foldAt;
      more.textContent = open ? "Show fewer rows" : `Show all ${position} rows`;
      more.setAttribute("aria-expanded", String(open));
    }
  }

  for (const head of all("thead th", section)) {
    one(".sort", head)?.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const field = data.fields.indexOf(data.keys[Number(head.dataset.column)]);
      const words = rows.some((row) => typeof data.rows[Number(row.dataset.row)][field] === "string");
      const first = words ? "ascending" : "descending";
      const second = words ? "descending" : "ascending";
      const way = before === first ? second : before === second ? "" : first;
      for (const other of all("thead th", section)) other.removeAttribute("aria-sort");
      if (way) head.setAttribute("aria-sort", way);
      const value = (/** @type {HTMLElement} */ row) => data.rows[Number(row.dataset.row)][field];
      shown = [...rows];
      if (way) {
        const there = shown.filter((row) => value(row) !== null);
        there.sort((a, b) => (way === "ascending" ? 1 : -1) * compare(value(a), value(b)));
        shown = [...there, ...shown.filter((row) => value(row) === null)];
      }
      body.append(...shown);
      place();
      announce(way ? `Sorted by ${one(".sort", head)?.textContent}, ${way}` : "In the order of the network");
    });
  }
  filter?.addEventListener("input", place);
  more?.addEventListener("click", () => {
    open = !open;
    place();
  });
  section.addEventListener("atlas:reveal", () => {
    if (filter) filter.value = "";
    open = true;
    place();
  });
  place();
}
