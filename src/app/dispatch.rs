//! Work that is shared out to several workers.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError, mpsc};

/// Has each of `workers`, in a thread of its own, make itself ready and then take one job after another, whoever is free the
/// next; tells of every result in this thread, in the order in which they come.
///
/// After a failure nobody takes another job; the first failure is the answer once all have stopped. There are no more threads
/// than jobs.
pub(super) fn share_out<W: Send, S, J: Send, R: Send, E: Send>(
    workers: Vec<W>,
    jobs: Vec<J>,
    ready: impl Fn(W) -> Result<S, E> + Sync,
    work: impl Fn(&mut S, J) -> Result<R, E> + Sync,
    mut done: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let most = jobs.len();
    let jobs = Mutex::new(VecDeque::from(jobs));
    let locked = || jobs.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        let (results, inbox) = mpsc::channel();
        for worker in workers.into_iter().take(most) {
            let results = results.clone();
            let (ready, work) = (&ready, &work);
            scope.spawn(move || {
                let all = || -> Result<(), E> {
                    let mut state = ready(worker)?;
                    // The lock is not held while a job is done.
                    while let Some(job) = { locked().pop_front() } {
                        // Whoever listens is there as long as this thread.
                        let _ = results.send(Ok(work(&mut state, job)?));
                    }
                    Ok(())
                };
                if let Err(failure) = all() {
                    locked().clear();
                    let _ = results.send(Err(failure));
                }
            });
        }
        drop(results);
        let mut first = Ok(());
        for result in inbox {
            let told = result.and_then(&mut done);
            if let (Err(failure), Ok(())) = (told, &first) {
                locked().clear();
                first = Err(failure);
            }
        }
        first
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::share_out;

    /// A worker that takes so long for each job.
    struct Slow(&'static str, Duration);

    fn workers() -> Vec<Slow> {
        vec![Slow("quick", Duration::from_millis(1)), Slow("slow", Duration::from_millis(60))]
    }

    #[test]
    fn each_job_is_done_once_and_whoever_is_free_takes_the_next() {
        let mut done = Vec::new();
        let jobs: Vec<u32> = (0..12).collect();
        let result: Result<(), ()> = share_out(
            workers(),
            jobs.clone(),
            Ok,
            |Slow(name, pause), job| {
                std::thread::sleep(*pause);
                Ok((*name, job))
            },
            |made| {
                done.push(made);
                Ok(())
            },
        );
        assert_eq!(result, Ok(()));
        let mut numbers: Vec<u32> = done.iter().map(|(_, job)| *job).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, jobs);
        let of = |who| done.iter().filter(|(name, _)| *name == who).count();
        assert!(of("quick") > of("slow"), "{done:?}");
        assert!(of("slow") > 0, "{done:?}");
    }

    #[test]
    fn no_more_workers_are_made_ready_than_there_are_jobs() {
        let ready = AtomicUsize::new(0);
        let made: Result<(), ()> = share_out(
            vec![(), (), ()],
            vec![1],
            |()| {
                ready.fetch_add(1, Ordering::Relaxed);
                Ok(())
            },
            |(), job| Ok(job),
            |_| Ok(()),
        );
        assert_eq!((made, ready.into_inner()), (Ok(()), 1));
    }

    #[test]
    fn after_a_failure_no_other_job_is_taken() {
        let mut done = HashSet::new();
        let jobs: Vec<u32> = (0..100).collect();
        let work = |Slow(_, pause): &mut Slow, job| {
            std::thread::sleep(*pause);
            if job == 3 { Err("the third") } else { Ok(job) }
        };
        let result = share_out(workers(), jobs, Ok, work, |job| {
            done.insert(job);
            Ok(())
        });
        assert_eq!(result, Err("the third"));
        // Those before it, and what the other worker had in its hands.
        assert!((3..=5).contains(&done.len()), "{done:?}");
    }

    #[test]
    fn a_worker_that_does_not_get_ready_is_a_failure() {
        let never = |_: Slow| -> Result<Slow, &str> { Err("no memory") };
        assert_eq!(share_out(workers(), vec![1, 2], never, |_, job| Ok(job), |_| Ok(())), Err("no memory"));
    }

    #[test]
    fn a_result_that_is_refused_ends_the_work() {
        let jobs: Vec<u32> = (0..1000).collect();
        let taken = AtomicUsize::new(0);
        let work = |Slow(_, pause): &mut Slow, _| {
            taken.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(*pause);
            Ok(())
        };
        assert_eq!(share_out(workers(), jobs, Ok, work, |()| Err("a full disk")), Err("a full disk"));
        assert!(taken.into_inner() < 500);
    }
}
