"use strict";
// What a page does beyond reading: its contents list, names of points in figures, the selector.
document.documentElement.classList.add("js");

// Contents: open at the side where there is room, folded above the page where there is none.
const contents = document.querySelector("details.contents");
if (contents) {
  const wide = matchMedia("(min-width: 1100px)");
  const fold = () => { contents.open = wide.matches; };
  fold();
  wide.addEventListener("change", fold);
  const links = new Map([...contents.querySelectorAll("a")].map(
    (link) => [decodeURIComponent(link.hash.slice(1)), link]));
  const mark = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        for (const link of links.values()) { link.removeAttribute("aria-current"); }
        links.get(entry.target.id).setAttribute("aria-current", "true");
      }
    }
  }, { rootMargin: "0px 0px -65% 0px" });
  for (const id of links.keys()) {
    const heading = document.getElementById(id);
    if (heading) { mark.observe(heading); }
  }
  contents.addEventListener("click", (event) => {
    if (event.target.closest("a") && !wide.matches) { contents.open = false; }
  });
}

// Figures: the nearest element with data-tip is named on hover, tap and focus. One tab stop a
// panel; arrow keys go from point to point, Escape hides the name.
const NEAR = 18;                                        // pixels around an element
const tip = document.createElement("div");
tip.id = "tip";
tip.hidden = true;
tip.setAttribute("aria-hidden", "true");                // aria-label of the element says the same
(document.querySelector("main") || document.body).append(tip);

function name(element) {
  tip.hidden = !element;
  if (!element) { return; }
  tip.textContent = element.dataset.tip;
  const at = element.getBoundingClientRect();
  const left = at.left + at.width / 2 - tip.offsetWidth / 2;
  const above = at.top - tip.offsetHeight - 8;
  tip.style.left = `${Math.max(4, Math.min(left, innerWidth - tip.offsetWidth - 4))}px`;
  tip.style.top = `${above > 4 ? above : at.bottom + 8}px`;
}

function nearest(elements, event) {
  let best = null, least = NEAR;
  for (const element of elements) {
    const at = element.getBoundingClientRect();
    const x = Math.max(at.left - event.clientX, event.clientX - at.right, 0);
    const y = Math.max(at.top - event.clientY, event.clientY - at.bottom, 0);
    const middle = Math.hypot(event.clientX - (at.left + at.right) / 2,
                              event.clientY - (at.top + at.bottom) / 2);
    const far = Math.hypot(x, y) + middle / 1000;       // among overlapping ones the closest middle
    if (far < least) { [best, least] = [element, far]; }
  }
  return best;
}

for (const panel of document.querySelectorAll("figure svg")) {
  const points = [...panel.querySelectorAll("[data-tip]")];
  if (!points.length) { continue; }
  panel.closest('[role="img"]')?.setAttribute("role", "group");
  points.forEach((point, i) => {
    point.setAttribute("role", "img");
    point.setAttribute("aria-label", point.dataset.tip);
    point.setAttribute("tabindex", i ? "-1" : "0");
    point.addEventListener("focus", () => name(point));
    point.addEventListener("blur", () => name(null));
  });
  panel.addEventListener("pointermove", (event) => name(nearest(points, event)));
  panel.addEventListener("pointerleave", () => name(null));
  panel.addEventListener("click", (event) => name(nearest(points, event)));
  panel.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const i = points.indexOf(document.activeElement);
    if (!step || i < 0) { return; }
    event.preventDefault();
    const next = points[(i + step + points.length) % points.length];
    points[i].setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  });
}
addEventListener("keydown", (event) => { if (event.key === "Escape") { name(null); } });
addEventListener("scroll", () => name(null), { passive: true });

// The selector: four choices, one answer. Each slot of the answer in the page is filled again.
const selector = document.querySelector(".selector");
if (selector) {
  const answers = JSON.parse(selector.querySelector('script[type="application/json"]').textContent);
  const choices = [...selector.querySelectorAll("select")];
  const slots = Object.fromEntries([...selector.querySelectorAll("[data-slot]")].map(
    (element) => [element.dataset.slot, element]));
  const NOTHING = { technique: "Not enough evidence", networks: [],
                    sentence: "No published run covers this combination." };
  const texts = ["technique", "sentence", "cost", "python", "yaml"];

  const show = () => {
    const asked = Object.fromEntries(choices.map((choice) => [choice.name, choice.value]));
    const same = (answer) => choices.every((choice) => answer[choice.name] === choice.value);
    const answer = answers.find(same) || NOTHING;
    slots.asked.textContent = choices.map(
      (choice) => `${choice.dataset.before} ${asked[choice.name]}`).join(" · ");
    for (const part of texts) { slots[part].textContent = answer[part] || ""; }
    for (const part of ["python", "yaml"]) { slots[part].closest("details").hidden = !answer[part]; }
    slots.evidence.hidden = !answer.evidence;
    slots.evidence.setAttribute("href", answer.evidence || "#");
    const table = slots.networks.closest("table");
    const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
    table.closest(".networks").hidden = !answer.networks.length;
    slots.networks.replaceChildren(...answer.networks.map((network) => {
      const line = document.createElement("tr");
      const cells = [network.network, network.change, network.loss, network.kept ? "yes" : "no"];
      cells.forEach((text, i) => {
        const cell = line.insertCell();
        cell.textContent = text;
        cell.dataset.label = heads[i];
      });
      return line;
    }));
  };
  for (const choice of choices) { choice.addEventListener("change", show); }
  show();                                               // a browser keeps choices over a reload
  addEventListener("beforeprint", () => { selector.querySelector("details.answers").open = true; });
}
