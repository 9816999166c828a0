//! A test in a process of its own.

/// Runs `test`, which the calling test `name` consists of, in a process of its own, beside whose thread there is only the
/// harness', which waits for it and holds nothing.
pub(crate) fn alone(name: &str, test: impl FnOnce()) {
    const ALONE: &str = "RB_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        assert_eq!(std::fs::read_dir("/proc/self/task").unwrap().count(), 2, "threads");
        return test();
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
