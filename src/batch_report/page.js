
"use strict";
const body = document.querySelector("#rows");
const rows = [...body.rows];
const text = document.querySelector("#text");
const verdict = document.querySelector("#verdict");
function filter() {
  const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const row of rows) {
    const content = row.textContent.toLowerCase();
    row.hidden = (verdict.value && row.dataset.verdict !== verdict.value) || !words.every((word) => content.includes(word));
    count += row.hidden ? 0 : 1;
  }
  document.querySelector("#shown").textContent = `${count} of ${rows.length} rows`;
}
function sort(head, column) {
  const falls = head.getAttribute("aria-sort") === "ascending";
  document.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", falls ? "descending" : "ascending");
  const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const order = (one, other) => {
    const difference = value(one) - value(other);
    return Number.isNaN(difference) ? value(one).localeCompare(value(other)) : difference;
  };
  rows.sort((one, other) => (falls ? order(other, one) : order(one, other)));
  body.append(...rows);
}
document.querySelectorAll("th").forEach((head, column) => {
  head.querySelector("button").addEventListener("click", () => sort(head, column));
});
text.addEventListener("input", filter);
verdict.addEventListener("change", filter);
document.querySelector("#filters").hidden = false;
filter();
