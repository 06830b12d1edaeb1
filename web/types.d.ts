// The shapes that the gateway answers with (see /openapi.json), as far as the page reads them, and its own state. They are
// global, so that modules need not name where they come from: what a module says is served.

type Page = ReturnType<typeof import('./live.js').open>;

type Time = string;
type PanelState = 'online' | 'offline' | 'insecure' | 'unconfigured';
type LineState =
  | 'on_hook' | 'off_hook' | 'door_button' | 'short' | 'break' | 'disabled' | 'unsupported' | 'busy' | 'unknown';

interface Device { vendor?: string | null; model: string; firmware: string | null; serial: string | null }

interface Panel {
  panel: string; intercom: number; state: PanelState; since: Time; last_seen: Time | null; tamper: boolean | null;
  power_failed: boolean | null; door: 'open' | 'closed' | null; held: boolean; error: string | null;
  error_code: string | null; device?: Device | null; columns?: number | null; intercom_name?: string | null;
}

interface Thresholds {
  short_below: number | null; on_hook_below: number; off_hook_below: number; door_button_below: number | null;
  hysteresis: number;
}

interface Line {
  intercom: number; flat: number; flat_id: number | null; state: LineState; raw: number | null; value: number | null;
  unit: string; thresholds: Thresholds; since: Time; measured_at: Time | null; panel?: string; line?: number;
}

interface Tally { exchanges: number; timeouts: number; broken: number; wrong: number }
interface BusTally extends Tally { noise: number; busy_ratio: number }
interface PanelTally extends Tally { round_trip_ms: { p50: number | null; p95: number | null; max: number | null } | null }
interface Bus {
  bus: string; port: string; protocol: 'osdp' | 'modbus'; baud: number | null; open: boolean; minute: BusTally;
  total: BusTally; panels: { panel: string; minute: PanelTally; total: PanelTally }[];
}

interface Reason { code: string; message?: string; panel?: string; bus?: string; since?: Time }
interface Health { status: 'ok' | 'degraded'; reasons: Reason[]; since?: Time }

interface GatewayEvent {
  id: string; type: string; subject?: string; time: Time; sequence: string; data: Record<string, any>;
}
interface EventsAnswer { data: GatewayEvent[]; journal: string; oldest: number; last: number; next: number }

interface Outbox {
  journal: string; last: number; through: number; undelivered: number; oldest_undelivered_at: Time | null;
  uplink: { configured: boolean; connected: boolean; error: string | null; since?: Time | null };
}
interface Sync {
  revision: number | null; flats: number; keys: number; users: number; applied_at: Time | null;
  error: { code: string; message: string } | null;
}
interface Self {
  gateway: string; version: string; boot: string; journal: string; timezone: string; time: Time;
  clock: 'synchronized' | 'unsynchronized'; token: { name: string; read_only: boolean };
}

interface Done { at: Time; journal: string | null; sequence: number | null; token: string | null }
interface Item {
  id: string; group: string; kind: string; panel: string | null; intercom: number | null; flat: number | null;
  by_hand: boolean; done: Done | null;
}
interface Commissioning {
  gateway: string; version: string; journal: string | null; time: Time; complete: boolean; items: Item[];
  panels: { panel: string; vendor: string | null; model: string | null; firmware: string | null; serial: string | null }[];
}

interface User { id: number; name: string; login: string; expired_at: string | null }
interface Key { id: number; key: string; user: User | null }
interface FlatRow {
  id: number; flat: number; intercom_id: number; key_count: number; users_count: number;
  properties: { is_analog_line_enable: boolean; is_can_manage_resistance: boolean };
}
interface Flat extends FlatRow { keys: Key[]; users: User[] }
interface Paginated<T> { data: T[]; meta: { current_page: number; last_page: number; total: number } }

interface Sample { intercom: number; flat: number; raw: number | null; value: number | null; at: Time }
interface Gap { journal: string; from: number; to: number }

type Phase = 'connecting' | 'live' | 'lost' | 'stopping' | 'full';
/** A value of the gateway with the number of the connection that told it: of an earlier one it is stale. */
type Told<T> = T & { told: number };

interface State {
  phase: Phase;
  /** When something was last heard, milliseconds; what is stale is from then. */
  heard: number;
  /** Number of the connection. */
  told: number;
  self: Omit<Self, 'time'> | null;
  /** The gateway's clock minus this device's, milliseconds. */
  offset: number | null;
  health: Told<Health> | null;
  panels: Record<string, Told<Panel>>;
  buses: Record<string, Told<Bus> & { at: number }>;
  /** Rounds of the last minutes: the share of exchanges that went wrong. */
  errors: Record<string, number[]>;
  lines: Record<string, Told<Line>>;
  /** Newest first. */
  events: GatewayEvent[];
  journals: string[];
  oldest: number | null;
  swipes: Record<string, GatewayEvent>;
  gaps: Gap[];
  outbox: Outbox | null;
  sync: Sync | null;
  commissioning: Commissioning | null;
  watched: string | null;
  samples: { at: number; value: number | null }[];
  utc: boolean;
}

/** Events that repeat one another. */
interface Group { newest: GatewayEvent; first: GatewayEvent; times: number }

type Reduce = (state: State, action: Action) => State;

type Action =
  | { type: 'phase'; phase: Phase; at: number }
  | { type: 'stream'; name: string; data: any; at: number }
  | { type: 'self'; data: Self; at: number }
  | { type: 'panels'; data: Panel[] }
  | { type: 'lines'; data: Line[] }
  | { type: 'line'; data: Line }
  | { type: 'events'; data: EventsAnswer; gap?: Gap }
  | { type: 'outbox'; data: Outbox }
  | { type: 'sync'; data: Sync }
  | { type: 'commissioning'; data: Commissioning }
  | { type: 'item'; data: Item }
  | { type: 'watch'; line: string | null }
  | { type: 'utc' };
