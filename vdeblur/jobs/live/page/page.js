// The page of `vdeblur live --web`: draws what comes by its one WebSocket and sends wishes back.
// A message from the server: length of a JSON header (4 bytes, big-endian), the header, JPEG of the source, JPEG of
// the result.  A side's length 0 means: the one you have is still right; -1: you did not want it.
// Every picture that has been drawn is confirmed; the server keeps two on the way and skips all others.
"use strict";

const $ = (selector) => document.querySelector(selector);
const MODES = ["split", "side", "result"];
const stage = $(".stage"), canvas = $("canvas"), brush = canvas.getContext("2d", { alpha: false });
const pictures = { before: null, after: null };
let socket = null, drawnNumber = 0, waiting = null, retryMs = 500;

function connect() {
  const address = new URL("live" + location.search, location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  let turn = Promise.resolve();
  socket.onopen = () => { retryMs = 500; say("waiting for the first picture"); tellMode(); };
  socket.onmessage = (event) => { turn = turn.then(() => take(event.data)).catch(() => socket.close()); };
  socket.onclose = () => {
    say("vdeblur live has ended or cannot be reached; trying again");
    setTimeout(connect, retryMs);
    retryMs = Math.min(retryMs * 2, 8000);
  };
}

function send(words) {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(words));
}

async function take(data) {
  const length = new DataView(data).getUint32(0);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  let at = 4 + length;
  for (const side of ["before", "after"]) {
    if (head[side] === 0) continue;
    let fresh = null;
    if (head[side] > 0) {
      fresh = await createImageBitmap(new Blob([new Uint8Array(data, at, head[side])], { type: "image/jpeg" }));
      at += head[side];
    }
    pictures[side]?.close();
    pictures[side] = fresh;
  }
  if (waiting === null) requestAnimationFrame(show);
  waiting = head;
}

function show() {
  const head = waiting;
  waiting = null;
  drawnNumber = head.number;
  draw();
  tell(head);
  send({ seen: drawnNumber });
}

function draw() {
  const { before, after } = pictures;
  if (!after) return;
  const mode = before ? $("#mode").value : "result";
  const { width, height } = after, side = mode === "side";
  if (canvas.width !== width * (side ? 2 : 1) || canvas.height !== height) {
    canvas.width = width * (side ? 2 : 1);
    canvas.height = height;
    canvas.style.setProperty("--ratio", canvas.width / height);
  }
  stage.hidden = false;
  stage.dataset.mode = mode;
  if (side) brush.drawImage(before, 0, 0);
  brush.drawImage(after, side ? width : 0, 0);
  if (mode === "split") {
    const line = Math.round(width * $("#split").value / 100), thick = Math.max(1, Math.round(width / 640));
    if (line > 0) brush.drawImage(before, 0, 0, line, height, 0, 0, line, height);
    brush.fillStyle = "#000";
    brush.fillRect(line - 2 * thick, 0, 4 * thick, height);
    brush.fillStyle = "#fff";
    brush.fillRect(line - thick, 0, 2 * thick, height);
  }
}

function tell(head) {
  say(head.message ?? "");
  const rows = $("#figures").children;
  head.figures.forEach((words, number) => {
    const row = rows[number] ?? $("#figures").appendChild(document.createElement("li"));
    if (row.textContent !== words) row.textContent = words;
  });
  while (rows.length > head.figures.length) rows[rows.length - 1].remove();
  $("#freeze").ariaPressed = String(head.frozen);
  $("#record").ariaPressed = String(head.recording);
  if (!$("#strength").matches(":active")) $("#strength").value = head.strength;
}

function say(words) {
  if ($("#message").textContent !== words) $("#message").textContent = words;
}

function tellMode() {
  send({ wants: $("#mode").value === "result" ? "after" : "both" });
  draw();
}

const actions = {
  freeze: () => send({ wish: "freeze" }),
  snapshot: () => send({ wish: "snapshot" }),
  record: () => send({ wish: "record" }),
  stronger: () => send({ wish: "stronger" }),
  weaker: () => send({ wish: "weaker" }),
  mode: () => { $("#mode").value = MODES[(MODES.indexOf($("#mode").value) + 1) % MODES.length]; tellMode(); },
  full: () => document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen(),
  help: () => { $("#words").hidden = !$("#words").hidden; $("#help").ariaExpanded = String(!$("#words").hidden); },
  left: () => { $("#split").value -= 2; draw(); },
  right: () => { $("#split").value = Number($("#split").value) + 2; draw(); },
};
const KEYS = { " ": "freeze", "c": "mode", "+": "stronger", "=": "stronger", "-": "weaker", "s": "snapshot",
  "r": "record", "f": "full", "?": "help", "ArrowLeft": "left", "ArrowRight": "right" };

for (const name of ["freeze", "snapshot", "record", "full", "help"]) $("#" + name).onclick = actions[name];
$("#mode").onchange = tellMode;
$("#split").oninput = draw;
$("#strength").oninput = () => send({ strength: Number($("#strength").value) });
document.onfullscreenchange = () => { $("#full").ariaPressed = String(document.fullscreenElement !== null); };
document.onkeydown = (event) => {
  const name = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!name || event.ctrlKey || event.metaKey || event.altKey || event.repeat && !event.key.startsWith("Arrow")) return;
  // What has the focus keeps the keys that it understands itself.
  if (event.key === " " && event.target.matches("button, select")) return;
  if (event.key.startsWith("Arrow") && event.target.matches("select, #strength")) return;
  event.preventDefault();
  actions[name]();
};

connect();
