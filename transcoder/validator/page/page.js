"use strict";
// The tensor table: search, sort, and some hundred rows at a time, so that tens of thousands do not hang the browser.
(() => {
  const body = document.getElementById("rows");
  if (!body) return;
  const STEP = 200, PRINTED = 5000, NAMES = ["tensor", "from"];
  const all = JSON.parse(document.getElementById("data").textContent).rows;
  const labels = [...document.querySelectorAll(".tensors th button")].map((button) => button.textContent);
  const search = document.getElementById("search");
  const select = document.getElementById("sort");
  const count = document.getElementById("count");
  const more = document.getElementById("more");
  const SHAPE = labels.indexOf("shape"), BITS = labels.indexOf("bits"), ERROR = labels.indexOf("largest error");
  const haystacks = all.map((row) => row.join("\n").toLowerCase());
  const collator = new Intl.Collator("en", { numeric: true });
  let order = all.map((_, i) => i), column = -1, descending = false, shown = 0, keys = [];

  const key = (row) => {
    if (column === SHAPE) return row[SHAPE].split(" x ").reduce((product, size) => product * (Number(size) || 1), 1);
    if (column === ERROR) return row[ERROR] === "" ? -1 : row[ERROR] === "inf" ? Infinity : Number(row[ERROR]);
    return row[column];
  };
  const compare = (i, j) => {
    const a = keys[i], b = keys[j];
    const by = typeof a === "number" ? a - b || 0 : collator.compare(a, b);
    return (descending ? -by : by) || i - j;
  };
  const draw = (row) => {
    const line = document.createElement("tr");
    if (row[BITS] !== "equal") line.className = "differs";
    row.forEach((value, i) => {
      const cell = line.insertCell();
      if (NAMES.includes(labels[i])) {
        for (const piece of value.split(/(?<=[./])/)) cell.append(piece, document.createElement("wbr"));
      } else cell.textContent = value;
      cell.dataset.label = labels[i];
    });
    return line;
  };
  const show = (upto) => {
    const part = document.createDocumentFragment();
    for (; shown < Math.min(upto, order.length); shown++) part.append(draw(all[order[shown]]));
    body.append(part);
    more.hidden = shown >= order.length;
    const left = Math.min(STEP, order.length - shown);
    more.textContent = `Show ${left} more of ${(order.length - shown).toLocaleString("en")}`;
  };
  const refresh = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    order = all.map((_, i) => i).filter((i) => words.every((word) => haystacks[i].includes(word)));
    if (column >= 0) order.sort(compare);
    body.replaceChildren();
    shown = 0;
    show(STEP);
    const total = all.length.toLocaleString("en");
    count.textContent = words.length ? `${order.length.toLocaleString("en")} of ${total} tensors` : `${total} tensors`;
  };
  const sortBy = (which, backwards) => {
    column = which;
    descending = backwards;
    keys = all.map(key);
    document.querySelectorAll(".tensors th").forEach((head, i) => {
      if (i === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    select.value = String(column);
    refresh();
  };

  let waiting = 0;
  search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(refresh, 120); });
  select.addEventListener("change", () => sortBy(Number(select.value), false));
  document.querySelectorAll(".tensors th button").forEach((button, i) => {
    button.addEventListener("click", () => sortBy(i, i === column && !descending));
  });
  more.addEventListener("click", () => show(shown + STEP));
  addEventListener("beforeprint", () => show(PRINTED));
  document.querySelector(".controls").hidden = false;
  refresh();
})();
