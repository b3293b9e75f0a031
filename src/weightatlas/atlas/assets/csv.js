/** Rows as comma-separated text, after RFC 4180. */

/** @param {unknown} value */
function field(value) {
  if (value === null || value === undefined) return "";
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * @param {string[]} fields
 * @param {unknown[][]} rows
 * @returns {Blob}
 */
export function csv(fields, rows) {
  const lines = [fields, ...rows].map((row) => row.map(field).join(","));
  return new Blob([lines.join("\r\n") + "\r\n"], { type: "text/csv;charset=utf-8" });
}
