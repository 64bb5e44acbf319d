//! The xDS protocol, rule by rule. A test's name begins with its rule; rules are Envoy's (section names are those
//! of docs/root/api-docs/xds_protocol.rst), not what the code happens to do. `l..` are defects of other control
//! planes that must not be ours.
//!
//! ```text
//!  P1  the node comes first          P9   needless unsubscriptions       P17  equal bytes send nothing
//!  P2  stale SotW requests           P10  initial_resource_versions      P18  unknown types
//!  P3  stale delta requests          P11  full state of CDS and LDS      P19  limits
//!  P4  NACKs                         P12  changed part of EDS and RDS    P20  nothing before it is known
//!  P5  wildcards                     P13  no name twice, in order        P21  no response without a cause
//!  P6  asking again                  P14  warming                        P22  age, drain, coming back
//!  P7  names that do not exist       P15  make before break
//!  P8  unsubscribing in a wildcard   P16  one unanswered response a type
//!
//!  sotw · delta            one machine, one client, step by step
//!  order · warming         the same, of several types; visitors: clients that come back, or ask by name
//!  unseen                  the same, of routes to services that not everybody sees
//!  refusals · ropes        who is to blame for a refusal; the same, and the order, of virtual hosts
//!  untold · unsaid         the same, by clients that came back: delta; state of the world
//!  spared · older          which new clients of a fleet are not sent what others refused
//!  spared_scopes           the same, where not all see the same; and what clients that refuse much can do
//!  memory                  what a stream keeps
//!  scenarios               those of the public conformance harness, on the same machines
//!  properties · free       random interleavings, with Envoys (model) and with a client that asks for anything
//!  hosts · parts_model     the same, of virtual hosts; of those that are taken one by one
//!  meshes                  the same, of real meshes and rules, with clients of all kinds and scopes
//!  reports · moves         one stream without a socket: status, metrics, log; clients whose scope changes
//!  told                    what the log says of streams, once
//!  server                  real sockets: limits, garbage, shutdown
//!  admission               real sockets: silent streams, many streams of one client, age, first answers in turn
//!  strangers               real sockets: other protocols than HTTP/2, older versions of xDS
//!  conformance/            pilot as the target of the harness itself (an example, built by every test run)
//! ```

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "xds/admission.rs"]
mod admission;
#[path = "xds/delta.rs"]
mod delta;
#[allow(dead_code, reason = "each test uses a part")]
#[path = "translate/drawn.rs"]
mod drawn;
#[allow(dead_code, reason = "each test uses a part")]
#[path = "translate/drawn_rules.rs"]
mod drawn_rules;
#[path = "xds/driver.rs"]
mod driver;
#[path = "xds/fleet.rs"]
mod fleet;
#[path = "xds/free.rs"]
mod free;
#[path = "xds/hosts.rs"]
mod hosts;
#[path = "xds/memory.rs"]
mod memory;
#[path = "xds/meshes.rs"]
mod meshes;
#[path = "xds/model.rs"]
mod model;
#[path = "xds/moves.rs"]
mod moves;
#[path = "xds/older.rs"]
mod older;
#[path = "xds/order.rs"]
mod order;
#[path = "xds/parts.rs"]
mod parts;
#[path = "xds/parts_model.rs"]
mod parts_model;
#[path = "xds/properties.rs"]
mod properties;
#[path = "xds/refusals.rs"]
mod refusals;
#[path = "xds/reports.rs"]
mod reports;
#[path = "xds/ropes.rs"]
mod ropes;
#[path = "xds/scenarios.rs"]
mod scenarios;
#[path = "xds/served.rs"]
mod served;
#[path = "xds/server.rs"]
mod server;
#[path = "xds/sotw.rs"]
mod sotw;
#[path = "xds/spared.rs"]
mod spared;
#[path = "xds/spared_scopes.rs"]
mod spared_scopes;
#[path = "xds/strangers.rs"]
mod strangers;
#[path = "xds/things.rs"]
mod things;
#[path = "xds/told.rs"]
mod told;
#[path = "xds/unread.rs"]
mod unread;
#[path = "xds/unsaid.rs"]
mod unsaid;
#[path = "xds/unseen.rs"]
mod unseen;
#[path = "xds/untold.rs"]
mod untold;
#[path = "xds/visitors.rs"]
mod visitors;
#[path = "xds/warming.rs"]
mod warming;
#[allow(dead_code, reason = "each test uses a part")]
#[path = "translate/world.rs"]
mod world;
