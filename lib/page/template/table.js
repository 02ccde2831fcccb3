"use strict";
// A long table from JSON columns: drawn some lines at a time, sorted, filtered, saved as CSV.
for (const part of document.querySelectorAll(".long")) {
  const STEP = 200;
  const data = JSON.parse(part.querySelector('script[type="application/json"]').textContent);
  // A column holds its values, or codes that point into its values.
  const columns = data.map((column) => ({ ...column,
    at: column.codes ? (i) => column.values[column.codes[i]] : (i) => column.values[i] }));
  const count = (data[0].codes || data[0].values).length;
  const find = (name) => part.querySelector(`[data-part="${name}"]`);
  const search = find("search"), body = find("body"), status = find("status"), more = find("more");
  const filters = [...part.querySelectorAll("[data-column]")];
  const texts = columns.filter((column) => column.text);
  for (const column of texts) { column.wide = column.values.some((value) => value && value.length > 40); }
  const plain = new Intl.NumberFormat("en", { maximumSignificantDigits: 6 });
  const digits = (x) => (x && Math.abs(x) < 1e-3 ? x.toExponential(2) : plain.format(x)).replace("-", "−");
  let order = [...Array(count).keys()], wanted = order, drawn = 0;

  // What a filter of a column keeps: ">= 4", "< 0.5", "2..4" or a number; words for text.
  const test = (column, asked) => {
    if (column.text) {
      return (value) => (value || "").toLowerCase().includes(asked.toLowerCase());
    }
    const [, sign, number] = asked.match(/^(>=|<=|>|<|=)?\s*(-?[\d.]+(?:e[-+]?\d+)?)$/i) || [];
    const [, low, high] = asked.match(/^(-?[\d.]+)\s*\.\.\s*(-?[\d.]+)$/) || [];
    if (low !== undefined) { return (v) => v !== null && v >= Number(low) && v <= Number(high); }
    const x = Number(number);
    return { ">=": (v) => v !== null && v >= x, "<=": (v) => v !== null && v <= x,
             ">": (v) => v !== null && v > x, "<": (v) => v !== null && v < x,
             "=": (v) => v === x }[number === undefined ? "" : sign || "="] || (() => false);
  };

  const draw = () => {
    const until = Math.min(drawn + STEP, wanted.length);
    const lines = document.createDocumentFragment();
    for (; drawn < until; drawn += 1) {
      const line = document.createElement("tr");
      for (const column of columns) {
        const value = column.at(wanted[drawn]), cell = line.insertCell();
        if (value !== null && value !== "") {
          cell.textContent = column.text ? value : digits(value);
        }
        cell.className = column.text ? (column.wide ? "wide" : "") : "number";
      }
      lines.append(line);
    }
    body.append(lines);
    more.hidden = drawn >= wanted.length;
    const all = count.toLocaleString("en"), kept = wanted.length.toLocaleString("en");
    status.textContent = `${kept} of ${all} rows match; ${drawn.toLocaleString("en")} are shown.`;
  };

  const update = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const asked = filters.filter((field) => field.value.trim()).map((field) => {
      const column = columns[field.dataset.column], value = field.value.trim();
      const exact = field.tagName === "SELECT";
      const keeps = exact ? (v) => String(v) === value : test(column, value);
      return (i) => keeps(column.at(i));
    });
    wanted = order.filter((i) => asked.every((keeps) => keeps(i)) && (!words.length
      || words.every((word) => texts.some((column) => (column.at(i) || "").toLowerCase().includes(word)))));
    body.replaceChildren();
    drawn = 0;
    draw();
  };

  let waiting = 0;
  const soon = () => { clearTimeout(waiting); waiting = setTimeout(update, 150); };
  search.addEventListener("input", soon);
  for (const field of filters) { field.addEventListener("input", soon); }
  more.addEventListener("click", draw);

  const heads = [...part.querySelectorAll("thead th")];
  heads.forEach((head, c) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending", sign = down ? -1 : 1;
    for (const other of heads) { other.removeAttribute("aria-sort"); }
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const column = columns[c], words = new Intl.Collator("en", { numeric: true });
    const compare = column.text ? words.compare : (a, b) => a - b;
    const none = (value) => value === null || value === "";
    order.sort((i, j) => {                              // what is missing comes last, both ways
      const a = column.at(i), b = column.at(j);
      return none(a) || none(b) ? none(a) - none(b) : sign * compare(a, b);
    });
    update();
  }));

  find("save").addEventListener("click", () => {
    const quote = (value) => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
    const line = (i) => columns.map((column) => quote(String(column.at(i) ?? ""))).join(",");
    const text = [columns.map((column) => quote(column.name)).join(","), ...wanted.map(line), ""];
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text.join("\n")], { type: "text/csv" }));
    link.download = `${part.id}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  });
  update();
}
