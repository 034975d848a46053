"use strict";
(() => {
  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // -- long texts, compressed in the page ---------------------------------------------------------
  let texts;
  async function load() {
    const bytes = Uint8Array.from(atob(one("#texts").textContent), (c) => c.charCodeAt(0));
    const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return JSON.parse(await new Response(unpacked).text());
  }
  const textOf = async (name) => (await (texts ??= load()))[name] ?? "";

  // -- one of several -----------------------------------------------------------------------------
  function choose(button) {
    for (const other of all("button", button.parentElement)) {
      other.setAttribute("aria-pressed", String(other === button));
    }
  }
  for (const button of all("button[data-code]")) {
    button.addEventListener("click", async () => {
      const code = button.closest(".code");
      choose(button);
      one("pre", code).textContent = await textOf(button.dataset.code);
    });
  }
  for (const button of all("button[data-drawing]")) {
    button.addEventListener("click", () => {
      choose(button);
      for (const box of all(".drawing")) box.hidden = box.id !== button.dataset.drawing;
      search();
    });
  }

  // -- what a link leads to is opened -------------------------------------------------------------
  function open() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    if (target.tagName === "DETAILS") target.open = true;
    target.scrollIntoView({ block: "start" });
  }
  function go(id) {
    if (location.hash === `#${id}`) open();
    else location.hash = id;
  }
  addEventListener("hashchange", open);
  for (const kernel of all("details.kernel")) {
    kernel.addEventListener("toggle", () => {
      const pressed = one("button[aria-pressed=true]", kernel);
      if (kernel.open && pressed && !one(".code pre", kernel).textContent) pressed.click();
    });
  }

  // -- drawings: drag, zoom, click ----------------------------------------------------------------
  function movable(box) {
    const svg = one("svg", box);
    if (!svg) return;
    const first = svg.getAttribute("viewBox").split(/[ ,]+/).map(Number);
    let [x, y, width, height] = first;
    let from = null;
    let moved = false;
    const show = () => svg.setAttribute("viewBox", [x, y, width, height].join(" "));
    const inside = (clientX, clientY) =>
      new DOMPoint(clientX, clientY).matrixTransform(svg.getScreenCTM().inverse());
    const zoom = (factor, at) => {
      x = at.x - (at.x - x) * factor;
      y = at.y - (at.y - y) * factor;
      width *= factor;
      height *= factor;
      show();
    };
    box.whole = () => {
      [x, y, width, height] = first;
      show();
    };
    box.zoom = (factor) => zoom(factor, { x: x + width / 2, y: y + height / 2 });
    box.center = (element) => {
      const place = element.getBoundingClientRect();
      const at = inside(place.x + place.width / 2, place.y + place.height / 2);
      x = at.x - width / 2;
      y = at.y - height / 2;
      show();
    };
    svg.addEventListener("wheel", (event) => {
      event.preventDefault();
      zoom(Math.exp(event.deltaY * 0.0015), inside(event.clientX, event.clientY));
    }, { passive: false });
    svg.addEventListener("pointerdown", (event) => {
      from = inside(event.clientX, event.clientY);
      moved = false;
    });
    addEventListener("pointermove", (event) => {
      if (!from) return;
      const at = inside(event.clientX, event.clientY);
      moved ||= Math.hypot(at.x - from.x, at.y - from.y) > width / 200;
      if (!moved) return;
      x += from.x - at.x;
      y += from.y - at.y;
      show();
    });
    addEventListener("pointerup", () => (from = null));
    svg.addEventListener("click", (event) => {
      if (moved) return;
      const under = document.elementsFromPoint(event.clientX, event.clientY);
      const frame = under.map((e) => e.closest("[data-kernel]")).find(Boolean);
      if (frame) go(frame.dataset.kernel);
    });
  }
  all(".drawing").forEach(movable);
  const visible = () => one(".drawing:not([hidden])");
  const onVisible = (name, ...given) => visible()?.[name]?.(...given);
  one("#whole")?.addEventListener("click", () => onVisible("whole"));
  one("#closer")?.addEventListener("click", () => onVisible("zoom", 0.7));
  one("#further")?.addEventListener("click", () => onVisible("zoom", 1 / 0.7));

  // -- search -------------------------------------------------------------------------------------
  const wanted = one("#search");
  let found = [];
  let next = 0;
  function search() {
    const text = wanted.value.trim().toLowerCase();
    found = [];
    for (const mark of all(".drawing .node, .drawing .cluster")) {
      const is = text !== "" && mark.textContent.toLowerCase().includes(text);
      mark.classList.toggle("found", is);
      if (is && visible()?.contains(mark)) found.push(mark);
    }
    next = 0;
    one("#found").textContent = text === "" ? "" : `${found.length} found`;
  }
  wanted?.addEventListener("input", search);
  wanted?.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || found.length === 0) return;
    onVisible("center", found[next]);
    next = (next + 1) % found.length;
  });

  // -- passes: the text before and after one ------------------------------------------------------
  const slider = one("#pass");
  const shape = (line) => line.replace(/%\d+/g, "%"); // values have other numbers in each text
  function lines(pane, text, other, kind) {
    const left = new Map();
    for (const line of other.split("\n").map(shape)) left.set(line, (left.get(line) ?? 0) + 1);
    pane.replaceChildren(...text.split("\n").map((line) => {
      const there = left.get(shape(line)) ?? 0;
      left.set(shape(line), there - 1);
      const shown = document.createElement("span");
      shown.textContent = `${line}\n`;
      if (there <= 0) shown.className = kind;
      return shown;
    }));
  }
  async function pass() {
    const number = Number(slider.value);
    const [before, after] = [await textOf(`stage${number - 1}`), await textOf(`stage${number}`)];
    if (Number(slider.value) !== number) return;
    const names = all("#stages li");
    names.forEach((name, i) => name.classList.toggle("chosen", i === number));
    one("#before-name").textContent = `before: ${names[number - 1].textContent}`;
    one("#after-name").textContent = `after: ${names[number].textContent}`;
    lines(one("#before"), before, after, "gone");
    lines(one("#after"), after, before, "new");
  }
  if (slider) {
    slider.addEventListener("input", pass);
    all("#stages li").forEach((name, i) => name.addEventListener("click", () => {
      slider.value = String(Math.max(i, 1));
      pass();
    }));
    pass();
  }
  open();
})();
