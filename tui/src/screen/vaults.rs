//! The Vaults screen's state: clients, their accounts, what is selected, what the filter leaves.

use std::collections::BTreeMap;

use strongroom_proto::ids::{AccountAddress, AccountId, Slug, VaultId};
use strongroom_proto::method::{account, vault};
use strongroom_proto::words::{Access, Assurance, OtpKind, VaultRole};

use super::audit::Row;
use super::filter;
use super::model::Filter;
use super::text::clean;

/// A client. Its texts are safe to draw.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its address.
    pub vault: Slug,
    /// Its id in audit records.
    pub id: VaultId,
    /// Its display name.
    pub name: String,
    /// The caller's roles in it.
    pub roles: Vec<VaultRole>,
    /// True while nothing is released.
    pub is_frozen: bool,
    /// The weakest login that may take codes.
    pub min_assurance: Assurance,
}

impl From<vault::Item> for Client {
    fn from(item: vault::Item) -> Self {
        let name = if item.name.trim().is_empty() { item.vault.to_string() } else { clean(&item.name) };
        Self {
            vault: item.vault,
            id: item.id,
            name,
            roles: item.roles,
            is_frozen: item.frozen,
            min_assurance: item.min_assurance,
        }
    }
}

/// An account. Its texts are safe to draw.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its address.
    pub address: AccountAddress,
    /// Its id in audit records.
    pub id: AccountId,
    /// Who asks for the code.
    pub issuer: String,
    /// The login it belongs to.
    pub label: String,
    /// How codes are made.
    pub kind: OtpKind,
    /// Characters of a code.
    pub digits: u8,
    /// What the caller can do with it.
    pub access: Access,
}

impl From<account::Item> for Account {
    fn from(item: account::Item) -> Self {
        Self {
            address: item.account,
            id: item.id,
            issuer: clean(&item.issuer),
            label: clean(&item.label),
            kind: item.kind,
            digits: item.digits,
            access: item.access,
        }
    }
}

/// The panels of the screen. Exactly one has the focus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pane {
    /// The clients.
    Clients,
    /// The accounts of the selected client.
    Accounts,
    /// The code; a panel to go to only where there is one panel at a time.
    Code,
}

/// A client that the filter leaves, with its accounts that the filter leaves.
#[derive(Clone, Debug)]
pub struct Visible {
    /// Place in [`Vaults::clients`].
    pub client: usize,
    /// Places in [`Vaults::accounts`].
    pub accounts: Vec<usize>,
}

/// The Vaults screen.
pub struct Vaults {
    /// The clients by slug; `None` until the agent has answered.
    pub clients: Option<Vec<Client>>,
    /// Every visible account by address; `None` until the agent has answered.
    pub accounts: Option<Vec<Account>>,
    /// What the filter leaves, always up to date.
    pub visible: Vec<Visible>,
    /// The filter.
    pub filter: Filter,
    /// The selected client. Kept by name, so that a reload does not move the selection to another client.
    pub client: Option<Slug>,
    /// The selected account of each client.
    pub account: BTreeMap<Slug, AccountAddress>,
    /// The panel with the focus.
    pub focus: Pane,
    /// The newest records of a client.
    pub recent: Option<(Slug, Vec<Row>)>,
}

impl Default for Vaults {
    fn default() -> Self {
        Self {
            clients: None,
            accounts: None,
            visible: Vec::new(),
            filter: Filter::default(),
            client: None,
            account: BTreeMap::new(),
            focus: Pane::Clients,
            recent: None,
        }
    }
}

impl Vaults {
    /// Recomputes what the filter leaves and keeps the selection on something visible.
    pub fn refresh(&mut self) {
        let (Some(clients), accounts) = (&self.clients, self.accounts.as_deref().unwrap_or_default()) else {
            self.visible.clear();
            return;
        };
        // One line per client and one per account, each with its client's names, so that "acme m365" finds the account.
        let mut lines = Vec::new();
        let mut owners = Vec::new();
        let mut accounts_of: BTreeMap<&Slug, Vec<usize>> = BTreeMap::new();
        for (index, account) in accounts.iter().enumerate() {
            accounts_of.entry(&account.address.vault).or_default().push(index);
        }
        for (place, client) in clients.iter().enumerate() {
            let own = format!("{} {}", client.name, client.vault);
            for index in accounts_of.remove(&client.vault).unwrap_or_default() {
                let account = &accounts[index];
                lines.push(format!("{own} {} {} {}", account.address.account, account.issuer, account.label));
                owners.push((place, Some(index)));
            }
            lines.push(own);
            owners.push((place, None));
        }
        let mut visible: Vec<Visible> = Vec::new();
        let mut place_of = BTreeMap::new();
        for hit in filter::matching(self.filter.input.value(), &lines) {
            let (client, account) = owners[hit];
            let place = *place_of.entry(client).or_insert_with(|| {
                visible.push(Visible { client, accounts: Vec::new() });
                visible.len() - 1
            });
            visible[place].accounts.extend(account);
        }
        self.visible = visible;
        if !self.visible.iter().any(|row| Some(&clients[row.client].vault) == self.client.as_ref()) {
            self.client = self.visible.first().map(|row| clients[row.client].vault.clone());
        }
    }

    /// The visible clients in order.
    pub fn visible_clients(&self) -> impl Iterator<Item = &Client> {
        let clients = self.clients.as_deref().unwrap_or_default();
        self.visible.iter().filter_map(|row| clients.get(row.client))
    }

    /// Place of the selected client among the visible.
    #[must_use]
    pub fn client_at(&self) -> Option<usize> {
        self.visible_clients().position(|client| Some(&client.vault) == self.client.as_ref())
    }

    /// The selected client.
    #[must_use]
    pub fn selected_client(&self) -> Option<&Client> {
        self.visible_clients().find(|client| Some(&client.vault) == self.client.as_ref())
    }

    /// The visible accounts of the selected client.
    #[must_use]
    pub fn visible_accounts(&self) -> Vec<&Account> {
        let accounts = self.accounts.as_deref().unwrap_or_default();
        let row = self.client_at().and_then(|place| self.visible.get(place));
        row.map(|row| row.accounts.iter().filter_map(|place| accounts.get(*place)).collect()).unwrap_or_default()
    }

    /// Place of the selected account among the visible of its client.
    #[must_use]
    pub fn account_at(&self) -> usize {
        let chosen = self.client.as_ref().and_then(|client| self.account.get(client));
        self.visible_accounts().iter().position(|account| Some(&account.address) == chosen).unwrap_or(0)
    }

    /// The selected account.
    #[must_use]
    pub fn selected_account(&self) -> Option<&Account> {
        self.visible_accounts().get(self.account_at()).copied()
    }

    /// Finds an account's slug by its id, for records whose names were erased.
    #[must_use]
    pub fn account_name(&self, id: AccountId) -> Option<&AccountAddress> {
        self.accounts.iter().flatten().find(|account| account.id == id).map(|account| &account.address)
    }
}
