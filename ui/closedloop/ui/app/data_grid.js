// A table that is walked by arrow keys: every cell that leads somewhere answers Enter and clicks.
// Text from the logs only ever goes through textContent, never through innerHTML.

const element = (tag, className, text) => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

class Grid {
  constructor(root) {
    this.root = root;
    this.at = [0, 0]; // row and column of the cell that Tab comes to
  }

  close() {
    this.frame?.remove();
  }

  show(data, send) {
    this.send = send;
    this.data = data;
    const focused = this.frame?.contains(this.root.activeElement ?? document.activeElement);
    this.draw();
    if (focused) this.focus(...this.at);
  }

  draw() {
    const { data } = this;
    this.frame?.remove();
    this.frame = element("div", "frame");
    const table = element("table");
    table.setAttribute("role", "grid");
    table.setAttribute("aria-label", data.label);
    const head = element("tr");
    data.columns.forEach((column) => head.append(this.heading(column)));
    const top = element("thead");
    top.append(head);
    const body = element("tbody");
    this.cells = data.rows.map((row, place) => {
      const line = element("tr", row.kind);
      const cells = row.cells.map((cell, column) => this.cell(cell, place, column));
      line.append(...cells);
      body.append(line);
      return cells;
    });
    table.append(top, body);
    this.frame.append(table);
    this.root.append(this.frame);
    this.at = [
      Math.min(this.at[0], Math.max(0, this.cells.length - 1)),
      Math.min(this.at[1], data.columns.length - 1),
    ];
    this.tabTo(...this.at);
  }

  heading(column) {
    const cell = element("th", column.number ? "number" : "");
    cell.scope = "col";
    if (column.order === undefined || column.order === null) {
      cell.append(element("span", "title", column.title));
      return cell;
    }
    const button = element("button", "title", column.title);
    button.type = "button";
    button.title = column.help || `Sort by ${column.title}`;
    if (column.sorted) {
      cell.setAttribute("aria-sort", column.sorted);
      button.append(element("span", "arrow", column.sorted === "descending" ? " ↓" : " ↑"));
    }
    button.addEventListener("click", () => this.act({ kind: "order", order: column.order }));
    cell.append(button);
    return cell;
  }

  cell(cell, row, column) {
    const made = element("td", this.data.columns[column].number ? "number" : "text");
    made.setAttribute("role", "gridcell");
    made.tabIndex = -1;
    if (this.data.columns[column].wraps) made.classList.add("wraps");
    if (cell.shade) made.style.setProperty("--shade", cell.shade);
    if (cell.chosen) made.classList.add("chosen");
    made.append(element("span", "value", cell.text));
    if (cell.change) {
      const change = element("span", "change", cell.change);
      if (cell.title) change.title = cell.title;
      made.append(change);
    }
    if (cell.leads) {
      made.classList.add("leads");
      made.addEventListener("click", () => this.open(row, column));
    }
    made.addEventListener("keydown", (event) => this.key(event, row, column));
    return made;
  }

  open(row, column) {
    this.tabTo(row, column);
    this.act({ kind: "cell", row, column });
  }

  act(act) {
    this.send({ ...act, token: this.data.token, at: Date.now() });
  }

  key(event, row, column) {
    const last = [this.cells.length - 1, this.data.columns.length - 1];
    const moves = {
      ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
      Home: [row, 0],
      End: [row, last[1]],
    };
    const to = moves[event.key];
    if (to) {
      if (to[0] >= 0 && to[1] >= 0 && to[0] <= last[0] && to[1] <= last[1]) this.focus(...to);
    } else if ((event.key === "Enter" || event.key === " ") && this.data.rows[row].cells[column].leads)
      this.open(row, column);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  focus(row, column) {
    this.tabTo(row, column);
    this.cells[row]?.[column]?.focus();
  }

  tabTo(row, column) {
    const [r, c] = this.at;
    if (this.cells[r]?.[c]) this.cells[r][c].tabIndex = -1;
    this.at = [row, column];
    if (this.cells[row]?.[column]) this.cells[row][column].tabIndex = 0;
  }
}

const grids = new WeakMap();

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  let grid = grids.get(parentElement);
  if (!grid) {
    grid = new Grid(parentElement);
    grids.set(parentElement, grid);
  }
  grid.show(data, (act) => setTriggerValue("act", act));
  return () => {
    grid.close();
    grids.delete(parentElement);
  };
}
