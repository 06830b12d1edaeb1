//! The `intercom-gateway` binary.

fn main() -> std::process::ExitCode {
    intercom_gateway::cli::main()
}
