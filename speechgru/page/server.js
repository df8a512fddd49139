// A model that runs on the server of this page: sound goes out over a WebSocket, events come in.

export const anyRate = true;

const key = () => document.getElementById("key").value;

// The models that there are, by name. An error with `keyed` says that the server wants a key, or another key.
export async function models() {
  const answer = await fetch("v1/models", {headers: key() ? {authorization: `Bearer ${key()}`} : {}});
  if (answer.status === 401)
    throw Object.assign(new Error(key() ? "This key is wrong." : "This server wants a key."), {keyed: true});
  return Object.fromEntries((await answer.json()).data.map(model => [model.id, model]));
}

export function about(model) {
  return {
    title: "speechgru: what this server hears",
    note: "The sound goes to this server and nowhere else; it is not kept. ",
    link: ["What can be asked", "docs"],
  };
}

// A stream of sound; `tell` is called with {events} as they come.
export async function open(name, rate, tell) {
  const stream = new Stream(name, rate, tell);
  await stream.opened;
  return stream;
}

class Stream {
  constructor(name, rate, tell) {
    this.rate = rate;
    this.sent = 0;
    const bytes = [...new TextEncoder().encode(key())].map(byte => String.fromCharCode(byte)).join("");
    const coded = "key." + btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    const url = new URL(`v1/stream?model=${encodeURIComponent(name)}&rate=${rate}`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    this.socket = new WebSocket(url, bytes ? ["speechgru", coded] : []);
    this.opened = new Promise((opened, failed) => {
      this.socket.onopen = opened;
      this.socket.onerror = () => failed(new Error("The server takes no stream; is it there, and the key right?"));
    });
    this.ended = new Promise((ended, failed) => {
      this.socket.onclose = close => {
        if (this.failed || !close.wasClean) failed(new Error(this.failed ?? "The line to the server broke."));
        else ended({seconds: this.seconds ?? this.sent / this.rate});
      };
    });
    for (const promise of [this.opened, this.ended]) promise.catch(() => {});  // whoever waits for it gets the error
    this.socket.onmessage = message => {
      const event = JSON.parse(message.data);
      if (event.error) this.failed = event.error.message;
      else if (event.kind === "end") this.seconds = event.seconds;
      else tell({events: [event]});
    };
  }

  // Seconds of sound that are not sent yet.
  get late() {
    return this.socket.bufferedAmount / 2 / this.rate;
  }

  feed(samples) {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    const whole = new Int16Array(samples.length);
    for (let i = 0; i < samples.length; i++)
      whole[i] = Math.max(-32768, Math.min(32767, Math.round(samples[i] * 32768)));
    this.socket.send(whole);
    this.sent += samples.length;
  }

  end() {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send('{"type": "end"}');
  }

  stop() {
    this.socket.close();
  }
}
