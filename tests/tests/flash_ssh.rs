//! `host flash` against an ssh server on this machine.

use anyhow::Context as _;
use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tests::{parity_model, program, run, skip};

/// An sshd with throw-away keys that knows one user: this one, in a home of its own.
struct Server {
    child: Child,
    port: u16,
    root: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    fn start() -> anyhow::Result<Option<Self>> {
        let found = ["/usr/sbin/sshd", "/usr/bin/sshd"].map(PathBuf::from).into_iter().find(|path| path.exists());
        let Some(sshd) = found else { return Ok(None) };
        let root = tempfile::tempdir()?;
        let path = |name: &str| root.path().join(name);
        for key in ["host_key", "user_key"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path(key));
            anyhow::ensure!(keygen.status().context("ssh-keygen")?.success(), "ssh-keygen failed");
        }
        fs::create_dir(path("home"))?;
        // The board's home is a folder of the test: the forced command enters it first.
        let entry = format!(
            "command=\"cd {home} && HOME={home} exec sh -c \\\"$SSH_ORIGINAL_COMMAND\\\"\" {key}",
            home = path("home").display(),
            key = fs::read_to_string(path("user_key.pub"))?
        );
        fs::write(path("authorized_keys"), entry)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        fs::write(
            path("sshd_config"),
            format!(
                "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
                 UsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n",
                path("host_key").display(),
                path("authorized_keys").display()
            ),
        )?;
        fs::write(
            path("ssh_config"),
            "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\nIdentitiesOnly yes\n",
        )?;
        if is_root() {
            fs::create_dir_all("/run/sshd")?;
        }
        let mut child =
            Command::new(sshd).args(["-D", "-e", "-f"]).arg(path("sshd_config")).stderr(Stdio::piped()).spawn()?;
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(Some(Self { child, port, root }));
            }
            anyhow::ensure!(child.try_wait()?.is_none(), "sshd ended: {:?}", child.wait_with_output()?);
            std::thread::sleep(Duration::from_millis(25));
        }
        anyhow::bail!("sshd does not listen")
    }

    fn path(&self, name: &str) -> String {
        self.root.path().join(name).display().to_string()
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn user() -> String {
    let name =
        Command::new("id").arg("-un").output().map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    name.unwrap_or_else(|_| "root".into())
}

#[test]
fn the_program_is_copied_started_and_answers() -> anyhow::Result<()> {
    let Some(server) = Server::start()? else {
        skip("no ssh server on this machine (Debian: apt-get install openssh-server)");
        return Ok(());
    };
    let (model, port, to) = (server.path("model"), server.port.to_string(), format!("{}@127.0.0.1", user()));
    parity_model(Path::new(&model))?;
    let edge = program("edge").display().to_string();
    let (identity, config) = (server.path("user_key"), server.path("ssh_config"));
    let flash = |more: &[&str]| {
        let args = ["flash", "--board", "rpi-linux", "--to", &to, "--model", &model, "--ssh-port", &port];
        let args = [&args[..], &["--identity", &identity, "--ssh-config", &config], more].concat();
        let output = run("host", &args);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    // Twice: the second time replaces the first installation.
    for _ in 0..2 {
        let (code, text) = flash(&["--edge", &edge, "--any-arch"]);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("works    a feature of 48 values"), "{text}");
    }
    let installed: Vec<_> = fs::read_dir(server.path("home"))?.map(|entry| entry.map(|e| e.file_name())).collect();
    assert_eq!(installed.len(), 1, "{installed:?}");

    // The port, key and user of a host in ssh's configuration are used; an option goes before them.
    let entry = format!(
        "Host board\n  HostName 127.0.0.1\n  Port {port}\n  User {}\n  IdentityFile {identity}\n{}",
        user(),
        fs::read_to_string(&config)?
    );
    let named = server.path("ssh_config_with_host");
    fs::write(&named, entry)?;
    let by_name = |more: &[&str]| {
        let args = ["flash", "--board", "rpi-linux", "--to", "board", "--model", &model, "--ssh-config", &named];
        let output = run("host", &[&args[..], &["--edge", &edge, "--any-arch"], more].concat());
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let (code, text) = by_name(&[]);
    assert_eq!(code, Some(0), "{text}");
    let other = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let (code, text) = by_name(&["--ssh-port", &other]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&format!("`ssh -F {named} -p {other} board`")), "{text}");

    // A program that does not run: the old one is replaced, and the cause is told.
    let script = server.path("broken");
    fs::write(&script, b"\x7fELF this is no program at all")?;
    let (code, text) = flash(&["--edge", &script, "--any-arch"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("ended on the board without a feature"), "{text}");
    let (code, text) = flash(&["--edge", &script]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("not for aarch64") && text.contains("cargo build"), "{text}");
    Ok(())
}

#[test]
fn a_board_that_cannot_be_reached_is_told_in_one_line() -> anyhow::Result<()> {
    if Command::new("ssh").arg("-V").output().is_err() {
        skip("no ssh on this machine (Debian: apt-get install openssh-client)");
        return Ok(());
    }
    let root = tempfile::tempdir()?;
    let model = root.path().join("model");
    parity_model(&model)?;
    let (model, edge) = (model.display().to_string(), program("edge").display().to_string());
    // A port that nobody listens on.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let args = ["flash", "--board", "jetson-linux", "--to", "nobody@127.0.0.1", "--ssh-port", &port, "--any-arch"];
    let output = run("host", &[&args[..], &["--model", &model, "--edge", &edge]].concat());
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with("host: ssh to nobody@127.0.0.1 failed") && text.lines().count() == 1, "{text}");
    Ok(())
}
