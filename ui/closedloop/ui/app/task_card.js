// The annotation card: draws the task it is given, and turns keys and clicks into acts.
// Text from the logs only ever goes through textContent, never through innerHTML.

const LOW_SECONDS = 60;

const element = (tag, className, text) => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

const keycap = (text) => element("kbd", "", text);

const SHORTCUTS = [
  ["1 – 9", "give the label with that number"],
  ["/", "filter the labels; Enter takes the first, Esc leaves the filter"],
  ["S", "skip: pass the task on to somebody else"],
  ["U", "undo your last answer"],
  ["K", "keep the task for five more minutes"],
  ["?", "show or hide this list"],
];

class Card {
  constructor(root) {
    this.root = root;
    this.deadline = 0;
    this.sent = false; // one act a task: the next one waits for the next task
    this.armed = ""; // a new label that Enter would add
    this.onKey = (event) => this.key(event);
    document.addEventListener("keydown", this.onKey, true);
    this.timer = setInterval(() => this.tick(), 1000);
  }

  close() {
    document.removeEventListener("keydown", this.onKey, true);
    clearInterval(this.timer);
  }

  show(data, send) {
    this.send = send;
    const another = !this.data || this.data.token !== data.token;
    this.data = data;
    this.sent = false;
    this.deadline = performance.now() + data.seconds_left * 1000;
    if (another) {
      this.draw();
    } else {
      this.card.classList.remove("sent");
      this.drawLabels();
    }
    this.tick();
  }

  draw() {
    const { data } = this;
    this.card?.remove();
    this.card = element("div", "card");
    this.card.dataset.token = data.token;
    this.card.setAttribute("data-testid", "task-card");

    const why = element("div", "why");
    if (data.reason) why.append(element("span", "reason", `Asked because: ${data.reason}`));
    if (data.cluster !== null && data.cluster !== undefined)
      why.append(element("span", "chip quiet", `cluster ${data.cluster}`));
    for (const word of data.keywords) why.append(element("span", "chip", word));

    const text = element("p", "text", data.text);
    text.setAttribute("data-testid", "task-text");
    if (data.language) text.lang = data.language;

    this.card.append(why, text);
    if (data.disliked) {
      const guess = element("div", "guess disliked");
      guess.append("The model answered ", element("b", "", data.disliked));
      guess.append(element("span", "hint", " — and a user disliked that"));
      this.card.append(guess);
    } else if (data.suggestion) {
      const guess = element("div", "guess");
      guess.append("The model’s suggestion: ", element("b", "", data.suggestion));
      guess.append(element("span", "hint", " — a guess to check, not an answer"));
      this.card.append(guess);
    }

    this.low = element("div", "low");
    this.low.setAttribute("role", "status");
    this.card.append(this.low);

    const tools = element("div", "tools");
    this.filter = element("input", "filter");
    this.filter.type = "search";
    this.filter.placeholder = "Filter the labels or type a new one";
    this.filter.setAttribute("aria-label", "Filter labels");
    this.filter.maxLength = 200;
    this.filter.addEventListener("input", () => {
      this.armed = "";
      this.drawLabels();
    });
    const box = element("div", "box");
    box.append(this.filter, keycap("/"));
    tools.append(
      box,
      this.tool("Skip", "S", () => this.act("skip")),
      this.tool("Undo", "U", () => this.act("undo"), !data.can_undo),
      this.tool("Keys", "?", () => this.toggleHelp()),
    );
    this.labels = element("div", "labels");
    this.labels.setAttribute("role", "group");
    this.labels.setAttribute("aria-label", "Labels");
    this.card.append(tools, this.labels);

    if (data.neighbours.length) {
      const near = element("div", "near");
      near.append(element("h4", "", "Similar messages"));
      for (const line of data.neighbours) near.append(element("p", "", line));
      this.card.append(near);
    }
    this.help = element("dl", "help");
    this.help.hidden = !this.helpOpen;
    for (const [key, meaning] of SHORTCUTS) {
      const term = element("dt");
      term.append(keycap(key));
      this.help.append(term, element("dd", "", meaning));
    }
    this.card.append(this.help);
    this.drawLabels();
    this.root.append(this.card);
  }

  tool(name, key, act, disabled = false) {
    const button = element("button", "tool", name);
    button.type = "button";
    button.disabled = disabled;
    button.append(keycap(key));
    button.addEventListener("click", act);
    return button;
  }

  hits() {
    const wanted = this.filter.value.trim().toLocaleLowerCase();
    if (!wanted) return this.data.labels;
    const found = this.data.labels
      .map((label) => {
        const plain = label.toLocaleLowerCase();
        const spaced = plain.replace(/[_\-.]+/g, " ");
        const at = Math.max(plain.indexOf(wanted), spaced.indexOf(wanted));
        // Exact first, then a match at the start, then anywhere; otherwise the given order.
        return { label, rank: plain === wanted ? 0 : at === 0 ? 1 : at > 0 ? 2 : 3 };
      })
      .filter((hit) => hit.rank < 3);
    return found.sort((a, b) => a.rank - b.rank).map((hit) => hit.label);
  }

  drawLabels() {
    const wanted = this.filter.value.trim();
    const found = this.hits();
    this.labels.replaceChildren();
    found.forEach((label, place) => {
      const button = element("button", "label");
      button.type = "button";
      button.dataset.label = label;
      if (wanted ? place === 0 : place < 9)
        button.append(keycap(wanted ? "⏎" : String(place + 1)));
      button.append(element("span", "", label));
      button.addEventListener("click", () => this.act("label", label));
      this.labels.append(button);
    });
    if (wanted && !this.data.labels.includes(wanted)) {
      const button = element("button", "label new");
      button.type = "button";
      const armed = this.armed === wanted;
      if (!found.length) button.append(keycap(armed ? "⏎" : "⏎ ⏎"));
      button.append(
        element("span", "", armed ? `Press Enter again to add “${wanted}”` : `New label “${wanted}”`),
      );
      button.addEventListener("click", () => this.act("label", wanted));
      this.labels.append(button);
    } else if (!found.length) {
      this.labels.append(
        element("p", "none", "No label is known yet: press / and type the first one."),
      );
    }
  }

  act(kind, label = "") {
    if (this.sent) return;
    if (kind === "undo" && !this.data.can_undo) return;
    const over = this.left() <= 0;
    if (over && (kind === "label" || kind === "skip" || kind === "renew")) return;
    this.sent = true;
    this.card.classList.add("sent");
    this.send({ kind, token: this.data.token, label });
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const target = event.composedPath()[0];
    if (target === this.filter) {
      this.keyInFilter(event);
      event.stopPropagation(); // no other shortcut of the page may fire while one types
      return;
    }
    if (target.closest?.("input, textarea, select, [contenteditable=true], [role=combobox]")) return;
    const key = event.key.toLowerCase();
    if (/^[1-9]$/.test(key)) {
      const label = this.hits()[Number(key) - 1];
      if (label !== undefined && !this.filter.value.trim()) this.act("label", label);
    } else if (key === "/") this.filter.focus();
    else if (key === "s") this.act("skip");
    else if (key === "u") this.act("undo");
    else if (key === "k") this.act("renew");
    else if (key === "n" && this.left() <= 0) this.act("next");
    else if (key === "?") this.toggleHelp();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  keyInFilter(event) {
    if (event.key === "Escape") {
      this.filter.value = "";
      this.drawLabels();
      this.filter.blur();
    } else if (event.key === "Enter") {
      const wanted = this.filter.value.trim();
      const [first] = this.hits();
      if (!wanted) return;
      if (first !== undefined) this.act("label", first);
      else if (this.armed === wanted) this.act("label", wanted);
      else {
        // A typing mistake must not become a label: a new one takes Enter twice.
        this.armed = wanted;
        this.drawLabels();
      }
    } else return;
    event.preventDefault();
  }

  toggleHelp() {
    this.helpOpen = !this.helpOpen;
    this.help.hidden = !this.helpOpen;
  }

  left() {
    return (this.deadline - performance.now()) / 1000;
  }

  tick() {
    if (!this.card) return;
    const left = this.left();
    this.card.classList.toggle("over", left <= 0);
    if (left > LOW_SECONDS) {
      this.low.replaceChildren();
      this.low.dataset.state = "";
    } else if (left > 0) {
      if (this.low.dataset.state !== "low") {
        this.clock = element("span");
        this.low.replaceChildren(
          this.clock,
          this.tool("Keep it", "K", () => this.act("renew")),
        );
        this.low.dataset.state = "low";
      }
      this.clock.textContent = `This task is yours for ${Math.ceil(left)} s more.`;
    } else if (this.low.dataset.state !== "over") {
      this.low.replaceChildren(
        element("span", "", "Your time for this task ran out and it went back to the queue."),
        this.tool("Next task", "N", () => this.act("next")),
      );
      this.low.dataset.state = "over";
    }
  }
}

const cards = new WeakMap();

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  let card = cards.get(parentElement);
  if (!card) {
    card = new Card(parentElement);
    cards.set(parentElement, card);
  }
  card.show(data, (act) => setTriggerValue("act", act));
  return () => {
    card.close();
    card.card?.remove();
    cards.delete(parentElement);
  };
}
