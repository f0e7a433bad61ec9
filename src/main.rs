//! The program: everything else is in the library.

/// A request makes some eighty allocations, many of which another thread frees: the system's allocator
/// spends a quarter of a request's instructions on them. Without huge pages (`no_thp`), which would
/// make twice as much of the memory resident.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    hareway::cli::main()
}
