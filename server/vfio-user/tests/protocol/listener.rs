//! Socket paths: taken, stale, impossible.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use vfio_user::{ListenError, Listener};

#[test]
fn only_the_owner_may_connect() {
    let folder = tempfile::tempdir().unwrap();
    let listener = Listener::bind(folder.path().join("socket")).unwrap();
    let mode = std::fs::metadata(listener.path())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn clients_are_accepted_without_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let listener = Listener::bind(folder.path().join("socket")).unwrap();

    let nobody = listener.accept().unwrap();
    let _client = UnixStream::connect(listener.path()).unwrap();
    let somebody = listener.accept().unwrap();

    assert!(nobody.is_none());
    assert!(somebody.is_some());
}

#[test]
fn the_path_goes_with_the_listener() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    drop(Listener::bind(&path).unwrap());
    assert!(!path.exists());
}

#[test]
fn a_path_that_somebody_else_took_over_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = Listener::bind(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "another's").unwrap();

    drop(listener);

    assert_eq!(std::fs::read(&path).unwrap(), b"another's");
}

#[test]
fn a_stale_socket_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());

    let listener = Listener::bind(&path).unwrap();

    UnixStream::connect(&path).unwrap();
    assert!(listener.accept().unwrap().is_some());
}

#[test]
fn a_live_socket_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let _first = Listener::bind(&path).unwrap();

    let error = Listener::bind(&path).unwrap_err();

    assert!(matches!(error, ListenError::InUse { .. }));
    assert!(error.to_string().contains("another process listens on"));
    assert!(path.exists());
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "precious").unwrap();

    let error = Listener::bind(&path).unwrap_err();

    assert!(matches!(error, ListenError::NotASocket { .. }));
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[test]
fn a_folder_that_does_not_exist_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = Listener::bind(folder.path().join("missing/socket")).unwrap_err();
    assert!(matches!(&error, ListenError::Folder { folder, .. } if folder.ends_with("missing")));
}

#[test]
fn a_path_too_long_for_an_address_is_refused_with_both_lengths() {
    let error = Listener::bind(Path::new("/tmp").join("x".repeat(200))).unwrap_err();
    assert!(matches!(error, ListenError::TooLong { .. }));
    assert!(error.to_string().contains("is 205 bytes long"));
    assert!(error.to_string().contains("107"));
}

#[test]
fn an_empty_path_is_refused() {
    let error = Listener::bind("").unwrap_err();
    assert!(matches!(error, ListenError::Invalid { .. }));
}

#[test]
fn a_folder_is_no_socket() {
    let folder = tempfile::tempdir().unwrap();
    let error = Listener::bind(folder.path()).unwrap_err();
    assert!(matches!(error, ListenError::NotASocket { .. }));
}

#[test]
fn a_reserved_path_is_taken_but_nobody_can_connect() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");

    let reservation = Listener::reserve(&path).unwrap();
    let early = UnixStream::connect(&path);
    let rival = std::thread::spawn({
        let path = path.clone();
        move || Listener::bind(path)
    });
    let _listener = reservation.listen().unwrap();
    let client = UnixStream::connect(&path);

    assert!(early.is_err());
    assert!(matches!(
        rival.join().unwrap(),
        Err(ListenError::InUse { .. })
    ));
    client.unwrap();
}
