//! `sib-cli`: see `sib-cli --help`.

fn main() -> std::process::ExitCode {
    sib_cli::run()
}
