//! Takes out of the figures what belongs to this machine and not to who is measured: a virtual core that idles needs
//! 40 to 100 µs to wake (measured), as much as a character at 115200 baud. Best effort, for both control panels
//! alike; without it the figures are a little worse.

use std::{
    process::{Child, Command, Stdio},
    thread,
};

/// Spinning processes, one a core. Dropping it ends them.
pub struct Awake(Vec<Child>);

/// Lets every core spin while it has nothing else to do (SCHED_IDLE: anything else that wants it has it).
pub fn keep_cores_awake() -> Awake {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let spinner = || {
        let mut command = Command::new("chrt");
        command.args(["--idle", "0"]).arg(std::env::current_exe().ok()?).arg("stay-awake");
        // Its end of the pipe tells it when this process is gone.
        command.stdin(Stdio::piped()).spawn().ok()
    };
    let spinners: Vec<_> = (0..cores).filter_map(|_| spinner()).collect();
    if spinners.len() < cores {
        eprintln!("cores may sleep between characters: there is no chrt (util-linux)");
    }
    Awake(spinners)
}

impl Drop for Awake {
    fn drop(&mut self) {
        for spinner in &mut self.0 {
            // One that has ended already is as good.
            let _ = spinner.kill();
            let _ = spinner.wait();
        }
    }
}

/// Spins until stdin ends.
pub fn stay_awake() -> ! {
    thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    loop {
        std::hint::spin_loop();
    }
}
