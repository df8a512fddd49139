// The list of what was heard: a line for each label, and for each phrase with its words.

export class Heard {
  constructor(list) {
    this.list = list;
    this.clear();
  }

  clear() {
    this.list.replaceChildren();
    this.going = null;  // the phrase that is still being said
    this.line = null;   // the phrase whose last words come now
  }

  take(event) {
    if (event.kind === "label") {
      this.row(event, "").text(event.text, event.confidence);
      return;
    }
    if (!event.final) {
      this.line = null;
      this.going ??= this.row(event, "going");
      this.going.add(event);
      return;
    }
    if (this.going) {
      this.going.item.remove();
      this.going = null;
    }
    if (!this.line || event.start_s - this.line.end_s > 1) this.line = this.row(event, "");
    this.line.add(event);
  }

  row(event, kind) {
    const item = document.createElement("li"), words = [];
    const [at, said, sure] = ["at", `said ${kind}`, "sure"].map(name => {
      const span = document.createElement("span");
      span.className = name;
      item.append(span);
      return span;
    });
    at.textContent = `${event.start_s.toFixed(2)} s`;
    this.list.append(item);
    item.scrollIntoView({block: "nearest"});
    const row = {
      item, end_s: event.end_s,
      text(text, confidence) {
        said.textContent = text;
        sure.textContent = confidence.toFixed(2);
      },
      add(word) {
        words.push(word);
        row.end_s = word.end_s;
        row.text(words.map(one => one.text).join(" "), words.reduce((sum, one) => sum + one.confidence, 0) / words.length);
        if (word.familiar === false) {
          const note = document.createElement("small");
          note.textContent = "does not sound like what the model knows";
          said.append(note);
        }
      },
    };
    return row;
  }
}
