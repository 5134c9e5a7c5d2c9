// The board of issues: draws them, walks them by arrow keys, and turns keys and clicks into acts.
// Text from the logs only ever goes through textContent, never through innerHTML.

const NEW_SECONDS = 120;
const SVG = "http://www.w3.org/2000/svg";

const element = (tag, className, text) => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

// Keys that are an act of their own, and keys that press a button of the page.
const ACTS = { a: "assign", s: "snooze15", h: "snooze60", t: "snooze9", u: "undo", o: "reopen" };
const BUTTONS = { R: "defence_add", n: "defence_send", x: "defence_resolve" };
const SHORTCUTS = [
  ["J  ↓", "the next issue"],
  ["K  ↑", "the issue before"],
  ["R", "to the condition of the rule"],
  ["⇧ R", "add the rule as it stands"],
  ["N", "send samples to annotation"],
  ["A", "assign to me"],
  ["S", "snooze for 15 minutes"],
  ["H", "snooze for an hour"],
  ["T", "snooze until tomorrow at nine"],
  ["X", "resolve"],
  ["O", "reopen"],
  ["U", "undo the last act"],
  ["?", "show or hide this list"],
];

const age = (seconds) => {
  if (seconds < 60) return "under a minute";
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
};

const clock = (at) => {
  const then = new Date(at * 1000);
  const time = then.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
  const today = then.toDateString() === new Date().toDateString();
  return today ? time : `${then.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
};

class Board {
  constructor(root) {
    this.root = root;
    this.order = []; // ids as they are on the screen
    this.hovered = false;
    this.place = 0; // of the chosen issue, when it was last on the board
    this.board = element("div", "board");
    this.list = element("div", "list");
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", "Issues");
    // Rows that change places under the mouse would be clicked by mistake.
    this.list.addEventListener("pointerenter", () => (this.hovered = true));
    this.list.addEventListener("pointerleave", () => {
      this.hovered = false;
      this.draw();
    });
    this.foot = element("div", "foot");
    this.held = element("span");
    const keys = element("button");
    keys.type = "button";
    keys.append("Keys ", element("kbd", "", "?"));
    keys.addEventListener("click", () => this.toggleHelp());
    this.foot.append(this.held, keys);
    this.help = element("dl", "help");
    this.help.hidden = true;
    for (const [key, meaning] of SHORTCUTS) {
      const term = element("dt");
      term.append(element("kbd", "", key));
      this.help.append(term, element("dd", "", meaning));
    }
    this.board.append(this.list, this.foot, this.help);
    this.root.append(this.board);
    this.onKey = (event) => this.key(event);
    document.addEventListener("keydown", this.onKey, true);
    this.timer = setInterval(() => this.tick(), 5000);
  }

  close() {
    document.removeEventListener("keydown", this.onKey, true);
    clearInterval(this.timer);
    clearTimeout(this.choosing);
    this.board.remove();
  }

  show(data, send) {
    this.send = send;
    this.data = data;
    // What was chosen here is on its way; an older picture must not take it back.
    if (this.wanted === undefined || this.wanted === data.chosen) {
      this.wanted = undefined;
      this.chosen = data.chosen;
    }
    this.draw();
  }

  draw() {
    if (!this.data) return;
    const rows = new Map(this.data.rows.map((row) => [row.id, row]));
    const wanted = this.data.rows.map((row) => row.id);
    if (this.hovered) {
      const kept = this.order.filter((id) => rows.has(id));
      this.order = [...kept, ...wanted.filter((id) => !kept.includes(id))];
    } else this.order = wanted;
    const place = this.order.indexOf(this.chosen);
    if (place >= 0) this.place = place;
    const held = this.order.some((id, place) => id !== wanted[place]);
    this.held.textContent = held ? "The order waits while the mouse is here." : "";
    const hottest = Math.max(1e-9, ...this.data.rows.map((row) => row.heat));
    const active = this.root.activeElement ?? document.activeElement;
    const focused = this.list.contains(active) ? Number(active.dataset.issue) : undefined;
    this.list.hidden = !this.order.length;
    const top = this.list.scrollTop;
    this.list.replaceChildren(...this.order.map((id) => this.row(rows.get(id), hottest)));
    this.list.scrollTop = top;
    if (focused !== undefined) this.option(focused)?.focus({ preventScroll: true });
    this.tick();
  }

  row(row, hottest) {
    const made = element("div", row.rising && row.state === "open" ? "issue" : "issue quiet");
    made.setAttribute("role", "option");
    made.setAttribute("aria-selected", String(row.id === this.chosen));
    made.dataset.issue = row.id;
    made.tabIndex = row.id === this.chosen || (this.chosen == null && row.id === this.order[0]) ? 0 : -1;
    const heat = element("div", "heat");
    heat.style.setProperty("--heat", Math.sqrt(row.heat / hottest).toFixed(3));
    const main = element("div", "main");
    main.append(element("div", "title", row.title));
    main.append(element("div", "growth", row.growth));
    const meta = element("div", "meta");
    const since = element("span", "since");
    since.dataset.at = row.began_at;
    const notes = row.notes.map((note) => element("span", "note", note));
    // A line ends with the point between two notes, it does not begin with one.
    meta.append(`${row.texts} since `, since, ...notes.flatMap((note) => ["\u00a0· ", note]));
    const chips = element("div", "chips");
    if (row.state !== "open") {
      const until = row.state === "snoozed" && row.until ? ` until ${clock(row.until)}` : "";
      chips.append(element("span", "chip", row.state + until));
    } else if (Date.now() / 1000 - row.opened_at < NEW_SECONDS)
      chips.append(element("span", "chip new", "new"));
    if (row.assigned) {
      const mine = row.assigned === this.data.me;
      chips.append(element("span", mine ? "chip mine" : "chip", mine ? "mine" : row.assigned));
    }
    const side = element("div", "side");
    side.append(this.spark(row), chips);
    made.append(heat, main, side, meta);
    made.addEventListener("click", () => this.choose(row.id));
    return made;
  }

  spark(row) {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("class", "spark");
    svg.setAttribute("viewBox", "0 0 100 28");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `texts a minute in the last hour, at most ${Math.max(0, ...row.series)}`);
    const most = Math.max(1, ...row.series);
    const step = 100 / Math.max(1, row.series.length - 1);
    const points = row.series.map((count, n) => `${(n * step).toFixed(1)} ${(27 - (count / most) * 25).toFixed(1)}`);
    if (!points.length) return svg;
    for (const [className, way] of [
      ["fill", `M0 28L${points.join("L")}L100 28Z`],
      ["line", `M${points.join("L")}`],
    ]) {
      const path = document.createElementNS(SVG, "path");
      path.setAttribute("class", className);
      path.setAttribute("d", way);
      svg.append(path);
    }
    return svg;
  }

  tick() {
    const now = Date.now() / 1000;
    for (const since of this.list.querySelectorAll(".since")) {
      const at = Number(since.dataset.at);
      since.textContent = `${clock(at)} (${age(now - at)})`;
    }
  }

  option(id) {
    return this.list.querySelector(`[data-issue="${id}"]`);
  }

  choose(id, { later = false } = {}) {
    this.chosen = this.wanted = id;
    for (const option of this.list.children) {
      const selected = Number(option.dataset.issue) === id;
      option.setAttribute("aria-selected", String(selected));
      option.tabIndex = selected ? 0 : -1;
    }
    this.option(id)?.scrollIntoView({ block: "nearest" });
    // Who runs down the list by key is shown the issue he stops at.
    clearTimeout(this.choosing);
    this.choosing = setTimeout(() => this.act("choose"), later ? 180 : 0);
  }

  act(kind) {
    const id = this.chosen;
    if (id === undefined || id === null) return;
    const row = this.data.rows.find((each) => each.id === id);
    // One that has left the board can still be reopened, and its last act be taken back.
    const revision = row ? row.revision : id === this.data.chosen ? this.data.revision : 0;
    this.send({ kind, issue: id, revision, at: Date.now() });
  }

  step(by) {
    const place = this.order.indexOf(this.chosen);
    // What was snoozed has gone: the one that came into its place is the next.
    const to = place < 0 ? Math.min(this.place - (by < 0), this.order.length - 1) : place + by;
    if (to < 0 || to >= this.order.length) return;
    this.choose(this.order[to], { later: true });
    if (this.list.contains(this.root.activeElement ?? document.activeElement))
      this.option(this.order[to]).focus({ preventScroll: true });
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const target = event.composedPath()[0];
    if (target.closest?.("input, textarea, select, [contenteditable=true], [role=combobox]")) return;
    if (document.querySelector("[role=dialog]")) return;
    const here = this.list.contains(target);
    const { key } = event;
    if (key === "j" || (here && key === "ArrowDown")) this.step(1);
    else if (key === "k" || (here && key === "ArrowUp")) this.step(-1);
    else if (here && key === "Enter") this.choose(Number(target.dataset.issue));
    else if (key === "?") this.toggleHelp();
    else if (key === "r") this.page('[class*="st-key-defence_condition"] textarea')?.focus();
    else if (BUTTONS[key]) this.page(`.st-key-${BUTTONS[key]} button:not(:disabled)`)?.click();
    else if (ACTS[key]) this.act(ACTS[key]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  page(selector) {
    return document.querySelector(selector);
  }

  toggleHelp() {
    this.help.hidden = !this.help.hidden;
  }
}

const boards = new WeakMap();

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  let board = boards.get(parentElement);
  if (!board) {
    board = new Board(parentElement);
    boards.set(parentElement, board);
  }
  board.show(data, (act) => setTriggerValue("act", act));
  return () => {
    board.close();
    boards.delete(parentElement);
  };
}
