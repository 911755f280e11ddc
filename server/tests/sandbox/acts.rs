//! The acts: each enters the sandbox of a configuration and then tries something.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io,
    net::{TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    os::unix::{
        fs::symlink,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use clap::Parser;
use guest_memory::tap;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        ptrace,
        signal::kill,
        socket::{AddressFamily, SockFlag, SockType, socket},
        stat::{Mode, SFlag, mknod},
    },
    unistd::{chroot, execv, getppid, setuid},
};
use vfio_user_ixgbe::{
    cli::Arguments,
    config::Config,
    sandbox::{self, Files},
};

/// The variable that names the act.
pub const ACT: &str = "SANDBOX_ACT";
/// The variable with the server's arguments, a line for each; empty for an act outside of any sandbox.
pub const FLAGS: &str = "SANDBOX_FLAGS";
/// The variable with a folder outside of the sandbox.
pub const OUTSIDE: &str = "SANDBOX_OUTSIDE";
/// The variable with a folder that the configuration names.
pub const INSIDE: &str = "SANDBOX_INSIDE";
/// The variable with the port of a listener.
pub const PORT: &str = "SANDBOX_PORT";

/// What is tried.
pub type Act = fn(&Places) -> io::Result<()>;

/// Where the acts try something.
pub struct Places {
    outside: PathBuf,
    inside: PathBuf,
    port: u16,
}

/// The acts by name.
const ACTS: &[(&str, Act)] = &[
    ("read a file", |places| {
        File::open(places.outside.join("file")).map(drop)
    }),
    ("read a file of its own folder", |places| {
        File::open(places.inside.join("file")).map(drop)
    }),
    ("write a file", |places| {
        let mut options = OpenOptions::new();
        options
            .append(true)
            .open(places.outside.join("file"))
            .map(drop)
    }),
    ("make a file", |places| {
        File::create(places.outside.join("new")).map(drop)
    }),
    ("make a file in its own folder", |places| {
        File::create(places.inside.join("new")).map(drop)
    }),
    ("list a folder", |places| {
        fs::read_dir(&places.outside).map(drop)
    }),
    ("make a folder", |places| {
        fs::create_dir(places.outside.join("new"))
    }),
    ("make a link", |places| {
        symlink("file", places.outside.join("new"))
    }),
    ("make a device", |places| {
        let path = places.outside.join("new");
        Ok(mknod(&path, SFlag::S_IFCHR, Mode::S_IRWXU, 0x103)?)
    }),
    ("rename a file", |places| {
        fs::rename(places.outside.join("file"), places.outside.join("new"))
    }),
    ("remove a file", |places| {
        fs::remove_file(places.outside.join("file"))
    }),
    ("remove a file of its own folder", |places| {
        fs::remove_file(places.inside.join("file"))
    }),
    ("change a file's mode", |places| {
        let path = places.outside.join("file");
        let permissions = fs::metadata(&path)?.permissions();
        fs::set_permissions(&path, permissions)
    }),
    ("connect by TCP", |places| {
        TcpStream::connect(("127.0.0.1", places.port)).map(drop)
    }),
    ("connect by TCP to another port", |places| {
        TcpStream::connect(("127.0.0.1", places.port ^ 1)).map(drop)
    }),
    ("listen by TCP", |_| {
        TcpListener::bind("127.0.0.1:0").map(drop)
    }),
    ("open a UDP socket", |_| {
        UdpSocket::bind("127.0.0.1:0").map(drop)
    }),
    ("connect to a UNIX socket", |places| {
        UnixStream::connect(places.outside.join("socket")).map(drop)
    }),
    ("listen on a UNIX socket", |places| {
        UnixListener::bind(places.inside.join("new")).map(drop)
    }),
    ("open a packet socket", |_| {
        let flags = SockFlag::SOCK_CLOEXEC;
        Ok(socket(AddressFamily::Packet, SockType::Raw, flags, None).map(drop)?)
    }),
    ("set the carrier of a tap", |_| {
        // What is not a tap says so, to whoever may ask.
        let no_tap = io::stdout().as_fd().try_clone_to_owned()?;
        Ok(tap::set_carrier(&no_tap, true)?)
    }),
    ("run a program", |_| {
        execv(c"/bin/true", &[c"true"])?;
        Ok(())
    }),
    ("start a process", |_| {
        Command::new("/bin/true").spawn().map(drop)
    }),
    ("trace its parent", |_| Ok(ptrace::attach(getppid())?)),
    ("be traced", |_| Ok(ptrace::traceme()?)),
    ("signal its parent", |_| Ok(kill(getppid(), None)?)),
    ("mount", |places| {
        let nothing: Option<&Path> = None;
        let flags = MsFlags::empty();
        Ok(mount(
            Some("none"),
            &places.outside,
            Some("no such system"),
            flags,
            nothing,
        )?)
    }),
    ("enter a namespace of its own", |_| {
        Ok(unshare(CloneFlags::CLONE_NEWUSER)?)
    }),
    ("become another user", |_| Ok(setuid(65534.into())?)),
    ("change its root", |places| Ok(chroot(&places.outside)?)),
    ("change its folder", |places| {
        env::set_current_dir(&places.outside)
    }),
    ("start a thread", |_| {
        let thread = thread::Builder::new().spawn(|| ())?;
        thread.join().map_err(|_| io::Error::other("it panicked"))
    }),
    ("read an open file", |_| Ok(())),
];

/// Names of the acts, for the tests.
pub fn names() -> impl Iterator<Item = &'static str> {
    ACTS.iter().map(|(name, _)| *name)
}

/// Enters the sandbox and does what is named. Returns `done`, or the error's name.
pub fn play(name: &str) -> String {
    let variable = |name| env::var(name).unwrap();
    let places = Places {
        outside: variable(OUTSIDE).into(),
        inside: variable(INSIDE).into(),
        port: variable(PORT).parse().unwrap(),
    };
    let flags = variable(FLAGS);
    let open = File::open(places.outside.join("file")).unwrap();
    let (_, act) = ACTS.iter().find(|(known, _)| *known == name).unwrap();
    let mut files = None;
    if !flags.is_empty() {
        let flags = ["vfio-user-ixgbe"].into_iter().chain(flags.lines());
        let config = Config::load(Arguments::try_parse_from(flags).unwrap()).unwrap();
        files = Some(sandbox::enter(&config).unwrap());
    }
    let result = match name {
        "read an open file" => io::read_to_string(open).map(drop),
        _ => act(&places),
    };
    match (result, files) {
        (Ok(()), Some(Files::Kept)) => "done without landlock".to_owned(),
        (Ok(()), _) => "done".to_owned(),
        (Err(error), _) => format!("{:?}", error.kind()),
    }
}
