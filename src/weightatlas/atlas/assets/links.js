/** Links into the page: a plate, a layer, a row, a unit; whatever is folded or filtered away opens. */
import { all } from "./dom.js";

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * The element that an address names, however its characters were escaped on the way here.
 * @param {string} address
 * @returns {HTMLElement | null}
 */
function named(address) {
  const plain = decoded(address);
  return document.getElementById(address) ?? all("[id]").find((element) => decoded(element.id) === plain) ?? null;
}

/** @param {HTMLElement} element */
function reveal(element) {
  for (let parent = element.parentElement; parent; parent = parent.parentElement)
    if (parent instanceof HTMLDetailsElement) parent.open = true;
  if (element.closest("[hidden], .folded")) element.closest(".plate")?.dispatchEvent(new CustomEvent("atlas:reveal"));
}

/** @param {import("./tissue.js").Tissue[]} tissues */
export function followLinks(tissues) {
  function follow() {
    const address = location.hash.slice(1);
    for (const element of all(".target")) element.classList.remove("target");
    if (!address) return;
    const unit = /^(.*?)unit\/(.+)\/(\d+)$/.exec(address);
    if (unit) {
      const article = named(`${unit[1]}layer/${unit[2]}`);
      const number = Number(unit[3]);
      const tissue = tissues.find((candidate) => candidate.home === article && candidate.numbered(number) >= 0);
      if (!article || !tissue) return;
      reveal(article);
      for (const other of tissues) if (other !== tissue && other.chosen !== null) other.ringUnit(other.pin, (other.chosen = null));
      tissue.choose(tissue.numbered(number));
      tissue.pin.scrollIntoView({ block: "nearest" });
      const seen = tissue.pin.getBoundingClientRect();
      if (seen.top < 0 || seen.bottom > window.innerHeight - 40) tissue.pin.scrollIntoView({ block: "center" });
      tissue.canvas.focus({ preventScroll: true });
      return;
    }
    const element = named(address);
    if (!element) return;
    reveal(element);
    const row = element.closest("tr");
    row?.classList.add("target");
    element.scrollIntoView({ block: row ? "center" : "start" });
  }
  window.addEventListener("hashchange", follow);
  follow();
}

/** Show in the contents which plate is being read. */
export function followReading() {
  const links = new Map(all(".contents ol > li > a").map((link) => [link.getAttribute("href")?.slice(1), link]));
  const seen = new Set();
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) isIntersecting ? seen.add(target.id) : seen.delete(target.id);
      const current = [...links.keys()].findLast((id) => seen.has(id));
      for (const [id, link] of links) id === current ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
    },
    { rootMargin: "0px 0px -60% 0px" },
  );
  for (const section of all(".plate")) watcher.observe(section);
}
