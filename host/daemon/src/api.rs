//! The door for people and programs: HTTP/1.1 with JSON bodies, on a Unix socket and on TCP.
//!
//! Decides nothing: it finds out who asks and whether they may, hands the question to the host, and shows the answer.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`FleetStatus`](tidegate_kernel::view::FleetStatus), and `agents` beside it |
//! | `GET /v1/services/NAME` | [`ServiceStatus`](tidegate_kernel::view::ServiceStatus) |
//! | `GET /v1/ready[?service=NAME]` | checked now: `[{"service", "blockers": [Reason], "notes": [Reason]}]` |
//! | `GET /v1/what-if?lose=SITE` | `[`[`Judgement`](tidegate_kernel::view::Judgement)`]` |
//! | `POST /v1/plan` with [`Command`](tidegate_kernel::event::Command) | [`PlanView`](tidegate_kernel::view::PlanView), or 409 and [`Refused`](tidegate_kernel::event::Refused) |
//! | `POST /v1/plan` with an evacuation | [`EvacuationPlan`](tidegate_kernel::view::EvacuationPlan), or 409 and the same |
//! | `POST /v1/orders` with [`Command`](tidegate_kernel::event::Command) | [`Accepted`](tidegate_kernel::event::Accepted), or 409 and [`Refused`](tidegate_kernel::event::Refused) |
//! | `GET /v1/runs`, `GET /v1/runs/ID` | [`RunView`](tidegate_kernel::view::RunView)s, or one; `ID` is a number or `rNUMBER` |
//! | `GET /v1/runs/ID/report` | [`RunReport`](tidegate_kernel::view::RunReport) |
//! | `GET /v1/evacuations` | [`Evacuation`](tidegate_kernel::state::Evacuation)s, the newest first |
//! | `GET /v1/questions` | the open questions |
//! | `GET /v1/plugins`, `GET /v1/plugins/SLOT` | slots with their revisions; `/` in a slot's name is written `%2F` |
//! | `POST /v1/plugins/SLOT/load` | takes a candidate, checks it as a swap would, and keeps it beside the active revision |
//! | `POST /v1/plugins/SLOT/swap` | puts a candidate in the active revision's place; without a body, the one that was loaded |
//! | `POST /v1/plugins/SLOT/exercise` | has the policy decide the situations of the moment over and over, counts, changes nothing |
//! | `POST /v1/plugins/SLOT/rollback` | puts the revision before in the active one's place |
//! | `GET /v1/journal[?after=N][&service=NAME]` | journal entries, one on each line, up to the newest durable one |
//! | `POST /v1/channels/NAME/test` | sends a message to try the channel: `{"sent": true}` |
//! | `POST /v1/reload` | reads fleet file and secrets again: `{"reloaded": true}`, or 422 and why not |
//! | `GET /v1/version` | `{"version"}` |
//! | `GET /metrics` | Prometheus' text format |
//! | `GET /healthz` | `ok` while the kernel answers |
//!
//! A candidate is either `application/json`, `{"plugin": "builtin:NAME" or "file:PATH", "settings": …, "limits": …}` with a path inside
//! the fleet file's plugin directory, or the component's own bytes as `application/wasm` with the settings and the limits (JSON) in the
//! headers `tidegate-settings` and `tidegate-limits`. Without settings the slot's present ones stay; so does each limit that is not named.
//!
//! Anything that fails answers `{"error": {"what", "where", "unchanged", "next"}}`. 400 = the request makes no sense, 401 = nobody
//! known asks, 403 = they may not, 404 = no such thing, 409 = refused, 413 = too large, 422 = a candidate or a file is not
//! sound, 429 = too many at once, 503 = the host is stopping.
//!
//! Over the Unix socket whoever may open it (mode 0600: its owner and root) is known by their login name; if the fleet file
//! has a person of that name, they have that person's roles, else all. Over TCP a bearer token names a person. `viewer`
//! sees; `operator` also orders, swaps and tries; `approver` also answers questions.

mod answer;
mod journal;
mod people;
mod plugins;
mod routes;
mod server;

pub use answer::Told;
pub use people::{Caller, People, Role};
pub use server::{Listener, Listening, serve};
