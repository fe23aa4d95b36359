//! What a code costs, and how that compares with what the token and the disk take for themselves:
//! `cargo run --release -p strongroom-tests --bin bench` (`--quick` for a glance, `--scale` and `--people` for a large organisation).

fn main() -> anyhow::Result<()> {
    strongroom_tests::bench::main(std::env::args().skip(1))
}
