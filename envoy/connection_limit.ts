/**
 * The limit of open connections per network address: a network filter for Envoy's WebAssembly runtime (proxy-wasm ABI 0.2.1).
 *
 * Each worker thread of Envoy runs its own instance of this module. All instances use one table of counts, which Envoy holds outside of their memory ("shared
 * data"). A connection adds one to its address's count when it begins, even if it is then refused, and takes one away when it closes. So the module keeps no list of
 * connections. The addresses of an IPv6 network (/64) count as one.
 *
 * The module uses no managed objects, so it produces no garbage. All its memory is reserved below and never grows.
 * The language is AssemblyScript. `make generate` compiles this file to generated/connection_limit.wasm.
 */

// Functions of Envoy. A `usize` is an address in this module's memory. Envoy writes its results to the addresses in the last parameters. The result is a status.
@external("env", "proxy_get_property")
declare function getProperty(path: usize, pathSize: usize, value: usize, size: usize): u32;
@external("env", "proxy_get_buffer_bytes")
declare function getBuffer(kind: u32, start: u32, most: u32, value: usize, size: usize): u32;
@external("env", "proxy_get_shared_data")
declare function getShared(key: usize, keySize: usize, value: usize, size: usize, version: usize): u32;
/** Version 0 overwrites any version. */
@external("env", "proxy_set_shared_data")
declare function setShared(key: usize, keySize: usize, value: usize, size: usize, version: u32): u32;
@external("env", "proxy_close_stream")
declare function closeStream(kind: u32): u32;
@external("env", "proxy_define_metric")
declare function defineMetric(kind: u32, name: usize, size: usize, id: usize): u32;
@external("env", "proxy_increment_metric")
declare function incrementMetric(id: u32, by: i64): u32;
@external("env", "proxy_log")
declare function log(level: u32, text: usize, size: usize): u32;
/** In nanoseconds. */
@external("env", "proxy_get_current_time_nanoseconds")
declare function getTime(time: usize): u32;

// Numbers of the interface.
const OK: u32 = 0;
const OTHER_VERSION: u32 = 8;
const PLUGIN_CONFIGURATION: u32 = 7;
const DOWNSTREAM: u32 = 2;
const COUNTER: u32 = 0;
const WARNING: u32 = 3;
const CONTINUE: u32 = 0;
const STOP: u32 = 1;

/** The number of buckets of the table, a power of two. Envoy cannot delete shared data, so their number must not grow with the number of addresses. */
const BUCKETS: u32 = 1024;
/** The size of a bucket's entry in bytes: a network (8) and its count (4). */
const ENTRY: u32 = 12;
/** The size of the largest bucket in bytes. Envoy accepts 10,000 connections (bootstrap.yaml). So even if each has its own network, one bucket could hold them all. */
const ROOM: u32 = 16_384 * ENTRY;

/** Envoy writes every value that this module reads to this address. The module uses each value before it reads the next one. */
const VALUE: usize = memory.data(ROOM + ENTRY, 8);
const POINTER: usize = memory.data(4, 4);
const SIZE: usize = memory.data(4, 4);
const VERSION: usize = memory.data(4, 4);
const TIME: usize = memory.data(8, 8);
const METRIC: usize = memory.data(4, 4);
const KEY: usize = memory.data(2, 2);
/** The groups of an IPv6 address, 16 bits each. */
const GROUPS: usize = memory.data(16, 2);
/** A text for Envoy, or the peer's address. */
const TEXT: usize = memory.data(512, 8);
/** The number of bytes in TEXT. */
let written: u32 = 0;

/** The network of a peer whose address cannot be read. Its connections are not counted. */
const NO_NETWORK: u64 = u64.MAX_VALUE;
/** The upper half of the number that stands for an IPv4 address. In IPv6, this would be a multicast address, and connections do not come from those. */
const IPV4: u64 = 0xffff_fffe_0000_0000;
/** Instances that start within this time of the first one belong to the same start of Envoy. In nanoseconds. */
const START: u64 = 10_000_000_000;
/** The time between two lines of the log, in nanoseconds. */
const MINUTE: u64 = 60_000_000_000;

const PERCENT: u32 = 0x25;
const DOT: u32 = 0x2e;
const ZERO: u32 = 0x30;
const NINE: u32 = 0x39;
const COLON: u32 = 0x3a;
const OPENING_BRACKET: u32 = 0x5b;
const CLOSING_BRACKET: u32 = 0x5d;
const SMALL_A: u32 = 0x61;
/** The bit that distinguishes a small ASCII letter from its capital. */
const SMALL: u32 = 0x20;

let limit: u64 = u64.MAX_VALUE;
let logged: u64 = 0;

/** Names the version of the interface. */
export function proxy_abi_version_0_2_1(): void {}

/** Returns the address at which Envoy writes a value of `size` bytes. 0: there is no room. */
export function proxy_on_memory_allocate(size: usize): usize {
  return size <= ROOM ? VALUE : 0;
}

/**
 * Makes the empty table. All instances start together with Envoy. An instance that starts later replaces one that failed. Envoy has then closed the connections of
 * the failed instance, and nothing takes them away from the table. So the table begins again. Some counts are then too low for a while, but none is too high for ever.
 */
export function proxy_on_vm_start(_root: u32, _size: u32): u32 {
  getTime(TIME);
  store<u16>(KEY, u16(BUCKETS));
  if (getShared(KEY, 2, POINTER, SIZE, VERSION) == OK && load<u64>(TIME) - load<u64>(VALUE) < START) return 1;
  setShared(KEY, 2, TIME, 8, 0);
  for (let bucket: u32 = 0; bucket < BUCKETS; bucket++) {
    store<u16>(KEY, u16(bucket));
    setShared(KEY, 2, VALUE, 0, 0);
  }
  return 1;
}

/** Reads the limit, a decimal number. Returns 0 if it is not valid. */
export function proxy_on_configure(_root: u32, size: u32): u32 {
  if (getBuffer(PLUGIN_CONFIGURATION, 0, size, POINTER, SIZE) != OK) return 0;
  const end = VALUE + load<u32>(SIZE);
  let number: u64 = 0;
  for (let at = VALUE; at < end; at++) {
    const letter = load<u8>(at);
    if (letter < ZERO || letter > NINE) return 0;
    number = number * 10 + (letter - ZERO);
  }
  if (number == 0) return 0;
  limit = number;
  written = 0;
  write("responsa.connections_refused");
  return u32(defineMetric(COUNTER, TEXT, written, METRIC) == OK);
}

export function proxy_on_context_create(_id: u32, _parent: u32): void {}

/** Counts a new connection, and closes it if its address has too many. */
export function proxy_on_new_connection(_id: u32): u32 {
  if (add(1) <= limit) return CONTINUE;
  incrementMetric(load<u32>(METRIC), 1);
  report();
  closeStream(DOWNSTREAM);
  return STOP;
}

/** Stops counting a connection. Envoy calls this once for each connection, whichever side closed it. */
export function proxy_on_downstream_connection_close(_id: u32, _by: u32): void {
  add(-1);
}

export function proxy_on_done(_id: u32): u32 {
  return 1;
}

export function proxy_on_delete(_id: u32): void {}

/** Adds `step` to the count of the peer's network, and returns the new count. 0: the connection is not counted. Leaves the peer's address in TEXT. */
function add(step: i32): u32 {
  const network = peer();
  if (network == NO_NETWORK) return 0;
  store<u16>(KEY, u16(((network * 0x9e37_79b9_7f4a_7c15) >> 32) & (BUCKETS - 1)));
  while (true) {
    if (getShared(KEY, 2, POINTER, SIZE, VERSION) != OK) return 0;
    let end = VALUE + load<u32>(SIZE);
    let entry = VALUE;
    while (entry < end && load<u64>(entry) != network) entry += ENTRY;
    if (entry == end) {
      if (step < 0) return 0; // the table began again after the connection did
      store<u64>(entry, network);
      store<u32>(entry, 0, 8);
      end += ENTRY;
    }
    const count = load<u32>(entry, 8) + step;
    store<u32>(entry, count, 8);
    if (count == 0) {
      end -= ENTRY;
      memory.copy(entry, end, ENTRY);
    }
    // If another thread has changed the bucket in the meantime, the loop reads it again.
    if (setShared(KEY, 2, VALUE, u32(end - VALUE), load<u32>(VERSION)) != OTHER_VERSION) return count;
  }
}

/** Reads the address of the connection's peer into TEXT, and returns its network. */
function peer(): u64 {
  written = 0;
  write("source\0address");
  const status = getProperty(TEXT, written, POINTER, SIZE);
  const size = load<u32>(SIZE);
  written = 0;
  if (status != OK || size == 0 || size > 128) return NO_NETWORK;
  memory.copy(TEXT, VALUE, size);
  written = size;
  const end = TEXT + size;
  return load<u8>(TEXT) == OPENING_BRACKET ? ipv6(TEXT + 1, end) : ipv4(TEXT, end);
}

/** Returns the network of an IPv4 address that a colon or a bracket ends: 192.0.2.1:443. */
function ipv4(at: usize, end: usize): u64 {
  let address: u64 = 0;
  let byte: u64 = 0;
  let dots = 0;
  for (; at < end; at++) {
    const letter = load<u8>(at);
    if (letter == COLON || letter == CLOSING_BRACKET) break;
    if (letter == DOT) {
      address = (address | byte) << 8;
      byte = 0;
      dots++;
    } else {
      byte = byte * 10 + (letter - ZERO);
    }
  }
  return dots == 3 ? IPV4 | ((address | byte) & 0xffff_ffff) : NO_NETWORK;
}

/** Returns the network (/64) of an IPv6 address that a bracket or a zone ends: 2001:db8::1]:443. An address that stands for an IPv4 address is the latter's network. */
function ipv6(at: usize, end: usize): u64 {
  let groups: u32 = 0;
  let gap: u32 = 8; // the number of groups before "::"
  let group: u32 = 0;
  let begin = at;
  for (; at < end && groups < 8; at++) {
    const letter = load<u8>(at);
    if (letter == DOT) {
      if (groups > 6) return NO_NETWORK;
      const last = ipv4(begin, end);
      setGroup(groups++, u32(last >> 16));
      setGroup(groups++, u32(last));
      break;
    }
    const ends = letter == CLOSING_BRACKET || letter == PERCENT;
    if (ends || letter == COLON) {
      if (at > begin) setGroup(groups++, group);
      else if (!ends) gap = groups;
      if (ends) break;
      group = 0;
      begin = at + 1;
    } else {
      group = (group << 4) | (letter <= NINE ? letter - ZERO : (letter | SMALL) - SMALL_A + 10);
    }
  }
  const upper = parts(0, groups, gap);
  const lower = parts(4, groups, gap);
  return upper == 0 && lower >> 32 == 0xffff ? IPV4 | (lower & 0xffff_ffff) : upper;
}

function setGroup(index: u32, group: u32): void {
  store<u16>(GROUPS + 2 * index, u16(group));
}

/** Returns four of the eight groups of an IPv6 address, from the group `first` on. groups: the number of groups in writing; `gap` of them are before "::". */
function parts(first: u32, groups: u32, gap: u32): u64 {
  const zeros = 8 - groups;
  let found: u64 = 0;
  for (let index = first; index < first + 4; index++) {
    found <<= 16;
    if (index < gap) found |= load<u16>(GROUPS + 2 * index);
    else if (index >= gap + zeros) found |= load<u16>(GROUPS + 2 * (index - zeros));
  }
  return found;
}

/** Logs a refused connection, at most once a minute. The peer's address is in TEXT. */
function report(): void {
  getTime(TIME);
  if (load<u64>(TIME) - logged < MINUTE) return;
  logged = load<u64>(TIME);
  write(" was refused: its address has ");
  writeNumber(limit);
  write(" open connections (limits.address.connections). For a minute, more refusals are only counted, in wasmcustom.responsa.connections_refused.");
  log(WARNING, TEXT, written);
}

/** Appends ASCII characters to TEXT. */
function write(text: string): void {
  for (let index = 0; index < text.length; index++) store<u8>(TEXT + written++, u8(text.charCodeAt(index)));
}

function writeNumber(number: u64): void {
  if (number > 9) writeNumber(number / 10);
  store<u8>(TEXT + written++, u8(ZERO + (number % 10)));
}
