//! A large organisation: what grows with it, and what must not.

pub(super) async fn run(_quick: bool) -> anyhow::Result<()> {
    Ok(())
}
