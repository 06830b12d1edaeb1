// All that the page says in English. docs/page.md tells how it is written.
export default `
title Intercom gateway
signIn
  empty Enter the token.
  malformed A token is only letters, digits, - and _, no spaces.
  wrong The gateway does not know this token. Is it complete?
  slowed Too many wrong tokens from this address. Try again in {seconds} s.
  unreachable The gateway cannot be reached. Is this device in its network?
  revoked The token was revoked. Sign in with another one.
  out You have signed out.
  certificate The gateway’s certificate has this SHA-256 fingerprint. Compare it with what the browser shows: {print}
nav
  home Home
  lines Lines
  events Events
  flats Flats
  commissioning Commissioning
phases
  connecting Connecting
  live Live
  lost No connection.
  stopping The gateway is restarting.
  full The gateway serves 16 pages already: close one.
  grey What is grey is from {time}.
views Views
newest Newest event
nothingYet Nothing has happened yet.
wait One moment …
since since {time}
asOf as of {time}
showUtc Show times in UTC
inItsWords In the gateway’s words
token Token {token}
readOnly read-only
readOnlyReason This token is read-only: it may look and measure.
version version {version}
signOut Sign out
copy Copy
copied Copied
copyFailed Copy it by hand
close Close
cancel Cancel
ms ms
panelStates
  online O|Online
  offline X|Offline
  insecure I|Insecure
  unconfigured ?|Not configured
lineStates
  on_hook H|On hook
  off_hook L|Lifted
  door_button B|Door button
  short S|Short circuit
  break X|Broken
  disabled –|Out of service
  unsupported U|Cannot be measured
  busy T|In a call
  unknown ?|Not known yet
health
  ok All is well.
  no_bus No bus is configured, so no door opens.|Add buses and panels, then reload.
  bus A bus does not work.|Plug its adapter in, correct “port”, or stop what else uses it.
  panel_offline Does not answer, or something is missing.|The panel’s card says what to do.
  panel_insecure The secure channel does not come up.|The panel’s card says what to do.
  panel_key There is no key that can be used.|Correct “secure_key_file”, or: panel pair NAME.
  line_errors Answers are lost on the wire.|Check power and wiring, and termination.
  broker Events do not reach the cloud; they are kept here.|Doors go on working. Check the network and the broker.
  sync Flats from the cloud were refused, or nobody sends them.|The last good ones are in force. Check the cloud.
  committed Somebody claims to have events that do not exist.|Check who may write “events/committed” and “status” at the broker.
  clock The clock is not synchronised.|Let NTP through. Expiry goes by the last known time.
  timezone The time zone is not known.|Correct “timezone”.
  storage The disk does not work as it should.|Doors go on working. Free some space; check the disk.
  journal_opening The journal is being opened.|Wait: events are kept meanwhile.
  journal_new A new journal was begun.|The old one is kept. A restart clears this.
  events_lost Events were lost.|See under Events what floods.
  certificate A certificate cannot be used, or ends soon.|Renew it; the self-signed one renews itself.
  endpoint The endpoint does not work as it should.|Free its port, or correct “listen” or tokens.json.
troubles
  never_heard Not heard since the start.|Check power and wiring, address, baud rate and parity.
  silent It has stopped answering.|Check power and wiring.
  no_link It answers, but no link comes about.|Look for a second device on its address; restart the panel.
  needs_secure_channel It demands a secure channel.|Set “secure_channel” to "required" or "install".
  no_key There is no key for it.|Name one in “secure_key_file”, or: panel pair NAME.
  wrong_key It has another key.|Correct “secure_key_file”, or: panel pair NAME.
  key_unusable Its key cannot be used.|Correct “secure_key_file”: 32 hex digits of its own.
  no_handshake It does not answer the handshake in time.|Check power and wiring; raise “reply_timeout”.
  no_secure_channel It refuses a secure channel.|Switch it on in the panel, or replace the panel.
  no_default_key It cannot be paired.|Reset it to its factory state, or name its key in “secure_key_file”.
  pairing It is getting its own key.|Wait.
  key_not_stored Its new key cannot be written to the disk.|Check the disk.
  pairing_failed Pairing has failed ten times.|Restart the panel, then: panel pair NAME.
  no_randomness The system has no random numbers.|Restart the gateway.
  no_such_input It lacks an input.|Correct “door”: inputs count from 0.
  no_such_output It lacks an output.|Correct “lock”: outputs count from 0.
  reader_disconnected Its reader is not connected.|Check the reader’s cable.
  other_model It is another model than its profile is for.|Check address and profile.
  no_such_registers It lacks registers of its profile.|Check the profile.
refusals
  ambiguous_panel The intercom has several locks.
  unknown_panel There is no such panel, or it has no lock.
  unknown_flat No panel has a line for this flat.
  panel_offline The panel does not answer.
  insecure The panel is not connected securely.
  unconfirmed The panel has not confirmed: nobody knows whether it was done.
  refused The panel cannot do that.
  interrupted The gateway is stopping: nothing was done.
  rate_limited Too often: wait a moment.
home
  health Health
  noPanels No panel is configured.
  bus Bus
  cloud Cloud
  alone Not configured: the gateway runs alone.
  connected Connected
  away Not connected
  waiting Events waiting: {n}
  clock Clock
  synchronized Synchronised
  unsynchronized Not synchronised
  off {n} s off this device’s clock
  revision revision {n}
  refused The last ones were refused.
panel
  intercom Intercom {n}
  swipe Last swipe
  noSwipe none lately
  roundTrip Round trip
  errors Errors
  most Errors of the last minutes, at most {n} %
  door Door
  case Case
  power Power
  open open
  closed closed
  held open for too long
  failed failed
  ill {ill} of {n} faulty
  firmware firmware
  serial serial
openDoor
  button Open door
  ask Open the door of {panel}?
  yes Open
  done {panel}: the door is released.
identify
  button Identify
  done {panel} blinks and beeps for 10 s.
bus
  open Port open
  shut Port not open
  baud baud
  exchanges Exchanges a minute
  errors Errors a minute
  kinds {timeouts} unanswered, {broken} broken, {wrong} wrong
  noise Stray bytes
  busy Busy
lines
  none No commutator is configured.
  good {good} of {n} on hook
  wiring a wire of the cabinet, not the flats
  noValue no value
  watch Watch
  stop Stop
  watching Lift the handset, then hang it up.
  plot Value of flat {flat}, live
  noPlot The curve cannot be shown.
  measure Measure
  thresholds Thresholds
  hysteresis Hysteresis
  register Register
  measured Measured
  place Line
events
  panel Panel
  kind Kind
  decision Decision
  all All
  pause Pause
  resume Resume
  none There is no such event.
  gone Events {from} to {to} are missing.
  older Older events
  oldest Older events are no longer kept.
  reversed Read backwards, this key is known. Set key_order of {panel} to "reversed", or back to "as-read".
kinds
  keys Keys and codes
  doors Doors
  lines Lines
  panels Panels
  gateway Gateway
decisions
  granted granted
  denied denied
reasons
  key_known known key
  key_unknown no flat has this key
  user_expired its user has expired
  not_permitted its user may not open this door
  other_intercom it belongs to another entrance
  cache_empty no flats are known yet
  unreadable it could not be read
  stale perhaps not read just now
  code_known known code
  code_unknown no flat has this code
  code_expired the code has expired
  blocked blocked after too many unknown codes
  clock the code expires, and the time is not known
by
  key by a key
  code by a code
  command by the cloud
  token by token {id}
  exit by the exit button
suspects
  wrong_mac something answers without the key
  plaintext cards or inputs come without encryption
  sequence the secure channel ends again and again
  serial the serial number changes again and again
  flood more cards or entries than people make
  codes one unknown code after another
inputs
  inactive inactive
  active active
  short short
  open cut
  fault faulty
  unknown not known
happened
  key_swiped Key {decision}
  code_entered Code {decision}
  keypad_entered Digits entered {digits}
  door_unlocked Door released {by}
  door_unlock_failed Door not released {by}
  door_opened Door opened {by}
  door_closed Door closed
  door_forced Door forced open
  door_held Door held open
  line_changed Flat {flat}: {to}
  line_wiring Wiring of {n} lines: {state}
  line_wiring_over Wiring of {n} lines: well again
  input_changed Input {input}: {to}
  panel_online Panel online
  panel_offline Panel offline
  panel_tamper Case opened
  panel_tamper_over Case closed
  panel_power Power failed
  panel_power_over Power is back
  panel_secured Secure channel set up
  panel_replaced Another device: serial {serial}
  panel_suspect Suspicious: {cause}
  started Gateway started, version {version}
  stopping Gateway stopping
  clock_stepped Clock set by {seconds} s
  sync_applied Flats in force: revision {revision}
  sync_rejected Flats refused
  committed_ignored Claim about the journal ignored
  journal_pruned Events lost
flats
  flat Flat {flat}
  search Number, key, name or login
  button Search
  found
    one {n} flat
    other {n} flats
  more More
  counts keys {keys}, users {users}
  id Record {id}
  on handset line in service
  off handset line out of service
  own thresholds of its own
  keys Keys
  users Users
  nobody nobody’s: opens
  until until
  document As the endpoint serves it
work
  intro Items tick themselves as things happen. What only a person can see is confirmed here.
  progress {done} of {all} done
  complete Complete: all is done.
  onlyOpen Only what is open
  done done
  open open
  event event
  byHand by hand,
  confirm Confirm
  handover Handover record
  date Date
  still Still open
  save Save as JSON
  print Print
  groups
    panel Panels
    lock Locks
    door Door contacts
    button Exit buttons
    key Wrong key
    line Lines
    cloud Cloud
  kinds
    answered has answered
    secured secure channel is up
    identified blinked and beeped where it should
    opened lock has opened
    contact door seen open and closed
    exit exit button pressed
    refused a wrong key was refused
    on_hook on hook
    off_hook lifted
    number flat number is right
    back away and back, with nothing waiting
say
  gone The connection is lost.
  back Connected again.
  events New events: {n}. The newest: {newest}
  ill Things wrong: {n}.
`;
