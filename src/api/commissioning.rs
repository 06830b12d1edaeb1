//! The record of commissioning: the list, and what people confirm by hand.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{Response, Uri},
};
use jiff::Timestamp;
use serde::Serialize;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use super::{
    body::{Order, members},
    error::{Invalid, ok, unavailable},
    state::Api,
};
#[cfg(test)]
use crate::domain::schema;
use crate::{
    commissioning::{Item, NotConfirmed},
    domain::{Name, time::as_rfc3339},
};

/// Where items are confirmed.
const ITEMS: &str = "/api/local/v1/commissioning/";
/// How long a confirmation may take to get to the disk.
const WRITTEN_WITHIN: Duration = Duration::from_secs(3);

/// What is known of the commissioning, and the way to confirm.
#[derive(Clone)]
pub struct Commissioning {
    /// The list; `None`: it has not been read yet.
    pub list: watch::Receiver<Option<Arc<[Item]>>>,
    /// Takes confirmations. Full: who confirms is told to come again.
    pub confirm: mpsc::Sender<Confirmation>,
}

/// Nothing is known, and nobody takes confirmations.
impl Default for Commissioning {
    fn default() -> Self {
        Self { list: watch::channel(None).1, confirm: mpsc::channel(1).0 }
    }
}

/// Somebody says that they have seen an item.
pub struct Confirmation {
    /// Its id.
    pub item: String,
    /// The name of the token by which they say so.
    pub token: Name,
    /// When.
    pub at: Timestamp,
    /// Takes the item as it is then.
    pub reply: oneshot::Sender<Result<Item, NotConfirmed>>,
}

/// The record of commissioning, for the installer's list and for the handover.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Commissioning"))]
pub(super) struct Record<'a> {
    gateway: &'a Name,
    version: &'static str,
    /// Null while it is being opened.
    #[cfg_attr(test, schemars(with = "Option<schema::Journal>"))]
    journal: Option<&'a str>,
    /// When this was asked for.
    #[serde(serialize_with = "as_rfc3339")]
    #[cfg_attr(test, schemars(with = "schema::Time"))]
    time: Timestamp,
    /// Everything is done.
    complete: bool,
    /// Items that are not done.
    open: usize,
    items: &'a [Item],
    panels: Vec<Described>,
}

/// What a panel says of itself; null: it does not tell, or has not been heard since the start.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CommissionedPanel"))]
struct Described {
    panel: Name,
    vendor: Option<String>,
    /// Maker, model and version.
    model: Option<String>,
    firmware: Option<String>,
    serial: Option<String>,
}

/// `GET /api/local/v1/commissioning`.
pub(super) async fn list(State(api): State<Arc<Api>>) -> Response<Body> {
    let Some(items) = api.handles.commissioning.list.borrow().clone() else { return unread() };
    let journal = api.handles.journal.identity();
    let open = items.iter().filter(|item| item.done.is_none()).count();
    let panels = api.handles.buses.panels().into_iter().map(|status| {
        let device = status.device;
        let (vendor, model, firmware, serial) = device.map_or((None, None, None, None), |device| {
            (device.vendor, Some(device.model), device.firmware, device.serial)
        });
        Described { panel: status.panel, vendor, model, firmware, serial }
    });
    ok(&Record {
        gateway: &api.settings.gateway,
        version: env!("CARGO_PKG_VERSION"),
        journal: Some(&*journal).filter(|journal| !journal.is_empty()),
        time: api.handles.clock.wall(),
        complete: open == 0,
        open,
        items: &items,
        panels: panels.collect(),
    })
}

/// `POST /api/local/v1/commissioning/{item}`: answers with the item. The slashes of its id may be escaped.
pub(super) async fn confirm(
    State(api): State<Arc<Api>>,
    uri: Uri,
    Order { token, body }: Order,
) -> Response<Body> {
    if let Err(invalid) = members(&body, "{}") {
        return Invalid::response(invalid);
    }
    if api.handles.commissioning.list.borrow().is_none() {
        return unread();
    }
    let item = uri.path().strip_prefix(ITEMS).unwrap_or_default();
    let item = item.replace("%2F", "/").replace("%2f", "/");
    let (reply, confirmed) = oneshot::channel();
    let confirmation = Confirmation { item, token: token.name, at: api.handles.clock.wall(), reply };
    if api.handles.commissioning.confirm.try_send(confirmation).is_err() {
        return unavailable("Too many confirmations wait for the disk; send it again.");
    }
    match timeout(WRITTEN_WITHIN, confirmed).await {
        Ok(Ok(Ok(item))) => ok(&item),
        Ok(Ok(Err(refused))) => Invalid::field("item", refused.to_string()).response(),
        // It is taken, or the gateway ends; confirmed again, it stays as it is.
        Ok(Err(_)) | Err(_) => unavailable(
            "The gateway's disk takes long to write this down; look at the list, and send it again.",
        ),
    }
}

fn unread() -> Response<Body> {
    unavailable("The record of commissioning cannot be read just now; the gateway's log says why.")
}
