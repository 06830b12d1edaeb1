//! A place for a daemon: a configuration and a state directory of its own.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use intercom_gateway::config::Config;
use serde_json::{Value, json};

/// One intercom with one panel on one line; what follows is the panel's.
pub const ENTRANCE: &str = r#"
[[intercom]]
id = 1

[[bus]]
name = "street"
port = "{dir}/street"
protocol = "osdp"

[[panel]]
name = "entrance-1"
intercom = 1
bus = "street"
address = 0
"#;

/// A Modbus door with a reader on a line that is recorded, with more settings of the bus and of the panel.
pub fn recorded_modbus_door(bus: &str, panel: &str) -> String {
    format!(
        r#"
[[intercom]]
id = 1

[[bus]]
name = "basement"
port = "{{dir}}/basement"
protocol = "modbus"
baud = 115200
trace_file = "{{dir}}/state/basement.pcap"
{bus}

[[panel]]
name = "door"
intercom = 1
bus = "basement"
address = 3
profile = "door-panel"
lock = {{ open = "2s" }}
{panel}
"#
    )
}

/// A directory with a configuration; removed at the end.
pub struct Site {
    dir: tempfile::TempDir,
    /// Runs here in place of the binary under test.
    other: Option<PathBuf>,
}

impl Site {
    /// `rest` is what follows `[gateway]` and `[http]` in the configuration; `{dir}` in it is this place.
    pub fn new(rest: &str) -> Self {
        let site = Self { dir: tempfile::tempdir().unwrap(), other: None };
        site.configure(rest);
        site
    }

    /// [`ENTRANCE`] in the clear with the broker at `port`, and an API token.
    pub fn entrance_at(port: u16) -> (Self, String) {
        let site = Self::new(&format!(
            "[mqtt]\nurl = \"mqtt://127.0.0.1:{port}\"\n{ENTRANCE}secure_channel = \"off\"\n"
        ));
        let token = site.run(["token", "add", "installer"]).ok();
        (site, token.trim().to_owned())
    }

    /// Writes the configuration anew, as [`Site::new`].
    pub fn configure(&self, rest: &str) {
        let text = format!(
            "[gateway]\nid = \"test\"\nstate_dir = \"{{dir}}/state\"\nclock = \"trusted\"\n\n\
             [http]\nlisten = \"127.0.0.1:0\"\ntls = \"off\"\n\n{rest}"
        );
        let text = text.replace("{dir}", self.dir.path().to_str().unwrap());
        std::fs::write(self.config_path(), text).unwrap();
    }

    /// Lets another binary run here from now on; `None`: the binary under test.
    pub fn run_by(&mut self, other: Option<PathBuf>) {
        self.other = other;
    }

    /// A file of this place.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The state directory; it does not exist before something runs.
    pub fn state_dir(&self) -> PathBuf {
        self.path("state")
    }

    /// Writes a file of this place.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    pub fn config_path(&self) -> PathBuf {
        self.path("gateway.toml")
    }

    pub fn config(&self) -> Config {
        Config::load(&self.config_path()).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// The binary with this place's configuration.
    pub fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = self.other.as_deref().map_or_else(binary, without_settings);
        command.arg("--config").arg(self.config_path()).args(arguments).current_dir(self.dir.path());
        command
    }

    /// Runs a command to its end.
    pub fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Ran {
        Ran::of(&mut self.command(arguments))
    }

    /// Imports these flats by the command.
    pub fn import(&self, revision: u64, flats: &[Value]) -> Ran {
        let file = self.write("import.json", &json!({"revision": revision, "flats": flats}).to_string());
        self.run(["import", file.to_str().unwrap()])
    }

    /// Without this place's own path, for snapshots.
    pub fn anonymous(&self, text: &str) -> String {
        text.replace(self.dir.path().to_str().unwrap(), "DIR")
    }
}

/// The binary under test, in an environment without settings.
pub fn binary() -> Command {
    without_settings(Path::new(env!("CARGO_BIN_EXE_intercom-gateway")))
}

fn without_settings(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("INTERCOM_GATEWAY") || name_text == "JOURNAL_STREAM" {
            command.env_remove(&name);
        }
    }
    command.env("RUST_LOG", "info");
    command
}

/// What a command left behind.
#[derive(Debug)]
pub struct Ran {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        Self { status: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Its standard output; anything but success fails the test.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.status, Some(0), "{self:?}");
        self.stdout
    }

    /// Its standard error; anything but this exit status fails the test.
    #[track_caller]
    pub fn failed(self, status: i32) -> String {
        assert_eq!(self.status, Some(status), "{self:?}");
        self.stderr
    }
}

/// Whether a file exists and is its owner's alone.
pub fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o077 == 0
}
