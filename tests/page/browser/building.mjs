// A building with simulated panels and the daemon itself, in a directory and on ports of its own.

import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const root = new URL('../../../', import.meta.url);
const program = process.env.INTERCOM_GATEWAY ?? new URL('target/debug/intercom-gateway', root).pathname;
/** The longest that anything may take that a test waits for. */
export const PATIENCE = 20_000;

/** A resident's card, one that nobody has, and the resident's backwards. */
export const CARDS = { known: '3042CAAC', unknown: '11223399', backwards: 'ACCA4230' };

/** Waits until something is so, and gives what it is. @template T @param {string} what @param {() => Promise<T> | T} look */
export async function until(what, look) {
  const end = Date.now() + PATIENCE;
  let last;
  while (Date.now() < end) {
    try {
      const found = await look();
      if (found) return found;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`not within ${PATIENCE / 1000} s: ${what}`, { cause: last });
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Whether somebody listens. @param {number} port @returns {Promise<boolean>} */
function isOpen(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** Ends a process and waits for it. @param {import('node:child_process').ChildProcess | null} child @param {NodeJS.Signals} signal */
async function end(child, signal = 'SIGTERM') {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await ended;
}

export class Building {
  /** @param {{config?: string, flats?: object[], cloud?: boolean}} [options] */
  static async start({ config = 'building.toml', flats, cloud = false } = {}) {
    const building = new Building();
    try {
      await building.#start(config, flats, cloud);
    } catch (error) {
      // What runs by now would keep the test from ending.
      await building.stop();
      throw error;
    }
    return building;
  }

  async #start(config, flats, cloud) {
    this.dir = await mkdtemp(join(tmpdir(), 'intercom-page-'));
    this.port = await freePort();
    this.brokerPort = await freePort();
    let text = await readFile(new URL(config, import.meta.url), 'utf8');
    if (cloud) text += '\n[mqtt]\nurl = "mqtt://127.0.0.1:BROKER"\n';
    text = text.replaceAll('DIR', this.dir).replaceAll('HTTPS_PORT', String(this.port));
    await writeFile(this.path('gateway.toml'), text.replaceAll('BROKER', String(this.brokerPort)));
    if (cloud) await this.startBroker();
    await this.#startPanels();
    const demo = JSON.parse(await readFile(new URL('examples/demo/flats.json', root), 'utf8'));
    const intercoms = [...text.matchAll(/^\[\[intercom\]\]\s+id = (\d+)/gm)].map(([, id]) => Number(id));
    const known = demo.flats.filter(({ intercom }) => intercoms.includes(intercom));
    await writeFile(this.path('flats.json'), JSON.stringify({ ...demo, flats: [...known, ...(flats ?? [])] }));
    this.run('import', this.path('flats.json'));
    this.token = this.addToken('installer');
    await this.startDaemon();
  }

  dir = '';
  port = 0;
  brokerPort = 0;
  token = '';
  /** @type {import('node:child_process').ChildProcess | null} */
  daemon = null;
  /** @type {import('node:child_process').ChildProcess | null} */
  panels = null;
  /** @type {import('node:child_process').ChildProcess | null} */
  broker = null;
  /** @type {import('node:child_process').ChildProcess | null} */
  consumer = null;
  /** What the panels were seen to do. @type {any[]} */
  sightings = [];

  /** @param {string} name */
  path = (name) => join(this.dir, name);

  get url() {
    return `https://127.0.0.1:${this.port}`;
  }

  /** Runs a command of the program on this building. @param {...string} words */
  run(...words) {
    const { status, stdout, stderr } = spawnSync(program, ['--config', this.path('gateway.toml'), ...words], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`${words.join(' ')}: ${stderr}`);
    return stdout.trim();
  }

  /** @param {string} name @param {...string} more */
  addToken = (name, ...more) => this.run('token', 'add', name, ...more);

  async #startPanels() {
    const panels = spawn(program, ['--config', this.path('gateway.toml'), 'simulate'], { stdio: ['pipe', 'pipe', 'ignore'] });
    this.panels = panels;
    createInterface({ input: panels.stdout }).on('line', (line) => this.sightings.push(JSON.parse(line)));
    await until('the panels are simulated', () => this.sightings.some(({ ev }) => ev === 'ready'));
  }

  /** Has something happen at the panels, in the grammar of `simulate`. @param {string} line */
  happen = (line) => this.panels?.stdin?.write(`${line}\n`);

  async startDaemon() {
    const log = [];
    this.daemon = spawn(program, ['--config', this.path('gateway.toml'), 'run'], { stdio: ['ignore', 'ignore', 'pipe'] });
    createInterface({ input: /** @type {any} */ (this.daemon.stderr) }).on('line', (line) => log.push(line));
    await until('the gateway answers', () => {
      if (this.daemon?.exitCode != null) throw new Error(log.slice(-5).join('\n'));
      return this.ask('/api/local/v1/self');
    });
  }

  /** @param {NodeJS.Signals} [signal] */
  stopDaemon = (signal) => end(this.daemon, signal);

  /** A broker, and somebody who consumes events: without one no event is delivered. */
  async startBroker() {
    const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };
    const port = String(this.brokerPort);
    this.broker = spawn('mosquitto', ['-p', port], { stdio: 'ignore', env });
    await until('the broker listens', () => isOpen(this.brokerPort));
    this.consumer = spawn('mosquitto_sub', ['-V', '5', '-p', port, '-q', '1', '-t', '#'], { stdio: 'ignore', env });
  }

  async stopBroker() {
    await end(this.consumer);
    await end(this.broker);
  }

  /** Asks the gateway itself. @param {string} path @param {string} [method] @param {string} [token] @returns {Promise<any>} */
  ask(path, method = 'GET', token = this.token) {
    return new Promise((resolve, reject) => {
      const options = { method, rejectUnauthorized: false, headers: { Authorization: `Bearer ${token}` }, agent: false };
      const asked = request(this.url + path, options, async (answer) => {
        let text = '';
        for await (const piece of answer) text += piece;
        if ((answer.statusCode ?? 0) >= 300) reject(new Error(`${path}: ${answer.statusCode} ${text}`));
        else resolve(text === '' ? null : JSON.parse(text));
      });
      asked.on('error', reject);
      asked.end();
    });
  }

  /** Waits until a panel is in a state. @param {string} name @param {string} state */
  panelIs = (name, state) => until(`${name} is ${state}`, async () => {
    const { data } = await this.ask('/api/local/v1/panels');
    return data.some((row) => row.panel === name && row.state === state);
  });

  async stop() {
    await this.stopDaemon();
    await end(this.panels);
    await this.stopBroker();
    await rm(this.dir, { recursive: true, force: true });
  }
}
