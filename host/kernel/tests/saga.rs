//! What a run can come to, whatever happens to its steps: done, undone, or at rest with a person called; never anything
//! else, and never twice past a point of no return.

use proptest::prelude::*;
use tidegate_kernel::event::Moment;
use tidegate_kernel::saga::{Heading, Next, Shape, StepEvent, StepState, StepStatus, next, passed};

#[derive(Clone, Copy, Debug)]
enum Fate {
    Done,
    Failed,
    Unknown,
    Crash,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![4 => Just(Fate::Done), 2 => Just(Fate::Failed), 2 => Just(Fate::Unknown), 1 => Just(Fate::Crash)]
}

/// Steps that each need some of those before them; one at most is the point of no return.
fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    (prop::collection::vec((any::<u8>(), 0u32..3, any::<bool>(), any::<bool>()), 1..7), 0usize..10).prop_map(
        |(steps, last)| {
            let shape = |(at, (needs, retries, undoable, optional)): (usize, &(u8, u32, bool, bool))| Shape {
                needs: (0..at).filter(|need| needs & (1 << need) != 0).collect(),
                timeout: 1_000,
                retries: *retries,
                undoable: *undoable && at != last,
                undone_last: needs & 0x80 != 0,
                point_of_no_return: at == last,
                optional: *optional && at != last,
            };
            steps.iter().enumerate().map(shape).collect()
        },
    )
}

struct Run {
    shapes: Vec<Shape>,
    states: Vec<StepState>,
    heading: Heading,
    now: u64,
    undone: Vec<usize>,
    log: Vec<String>,
}

impl Run {
    fn new(shapes: Vec<Shape>) -> Run {
        let states = vec![StepState::default(); shapes.len()];
        Run { shapes, states, heading: Heading::Forward, now: 0, undone: Vec::new(), log: Vec::new() }
    }

    fn apply(&mut self, step: usize, event: StepEvent) {
        let done = self.states.iter().filter(|state| state.done_as > 0).count() as u32;
        let at = Moment { mono: self.now, wall: self.now };
        self.states[step] = self.states[step].after(event, &self.shapes[step], at, done).expect("a legal event");
        self.log.push(format!("{step} {event:?}"));
    }

    /// Done, or done without.
    fn is_settled(&self, step: usize) -> bool {
        let StepState { status, due, .. } = &self.states[step];
        let given_up = matches!(status, StepStatus::Failed | StepStatus::Unknown) && due.is_none();
        *status == StepStatus::Done || self.shapes[step].optional && given_up
    }

    /// Everything in flight meets its fate.
    fn outcomes(&mut self, fates: &mut impl Iterator<Item = Fate>) {
        for step in 0..self.states.len() {
            let undoing = self.states[step].status == StepStatus::Undoing;
            if !self.states[step].status.in_flight() {
                continue;
            }
            match (fates.next().unwrap_or(Fate::Done), undoing) {
                (Fate::Done, false) => self.apply(step, StepEvent::Succeeded),
                (Fate::Failed, false) => self.apply(step, StepEvent::Failed),
                (Fate::Unknown | Fate::Crash, false) => self.apply(step, StepEvent::OutcomeUnknown),
                (Fate::Done, true) => {
                    self.apply(step, StepEvent::UndoSucceeded);
                    self.undone.push(step);
                }
                (Fate::Failed | Fate::Unknown, true) => self.apply(step, StepEvent::UndoFailed),
                // Nobody will answer: it is undone again when its time is up.
                (Fate::Crash, true) => {}
            }
        }
    }

    /// Goes on until it has come to an end. `Err` = it never did.
    fn play(&mut self, mut fates: impl Iterator<Item = Fate>) -> Result<Next, TestCaseError> {
        for _ in 0..2_000 {
            match next(&self.shapes, &self.states, self.heading, self.now) {
                Next::Start(steps) => {
                    for step in steps {
                        let needs = self.shapes[step].needs.clone();
                        prop_assert!(needs.iter().all(|need| self.is_settled(*need)));
                        self.apply(step, StepEvent::Started);
                    }
                    self.outcomes(&mut fates);
                }
                Next::Undo(step) => {
                    prop_assert!(!passed(&self.shapes, &self.states), "undone past the point of no return");
                    self.apply(step, StepEvent::UndoStarted);
                    self.outcomes(&mut fates);
                }
                Next::TurnBack => self.heading = Heading::Back,
                Next::Wait => self.now += 60_000,
                end => return Ok(end),
            }
        }
        Err(TestCaseError::fail(format!("no end: {:?}", self.log)))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_always_ends_done_undone_or_at_rest(shapes in shapes(), fates in prop::collection::vec(fate(), 0..60)) {
        let mut run = Run::new(shapes);
        let end = run.play(fates.into_iter())?;
        prop_assert!(matches!(end, Next::CloseDone | Next::CloseUndone | Next::Rest(_)));
        if end == Next::CloseDone {
            prop_assert!((0..run.states.len()).all(|step| run.is_settled(step)));
        }
        if end == Next::CloseUndone {
            let may_have_happened = |state: &StepState| matches!(state.status, StepStatus::Done | StepStatus::Unknown);
            let left = run.shapes.iter().zip(&run.states).filter(|(shape, state)| shape.undoable && may_have_happened(state));
            prop_assert_eq!(left.count(), 0);
            prop_assert!(!passed(&run.shapes, &run.states));
        }
    }

    #[test]
    fn undo_goes_in_the_reverse_order_of_done(shapes in shapes(), fates in prop::collection::vec(fate(), 0..60)) {
        let mut run = Run::new(shapes);
        run.play(fates.into_iter())?;
        let order: Vec<_> = run.undone.iter().map(|step| (!run.shapes[*step].undone_last, run.states[*step].done_as)).collect();
        // What was done without, and may have happened, comes last; and after all that, what needs the other undos.
        prop_assert!(order.windows(2).all(|pair| pair[0] > pair[1] || pair[0] == pair[1] && pair[0].1 == 0), "{:?}", order);
    }

    #[test]
    fn a_try_is_never_begun_again_before_it_is_known_to_have_failed(shapes in shapes(), fates in prop::collection::vec(fate(), 0..60)) {
        let mut run = Run::new(shapes);
        run.play(fates.into_iter())?;
        for (step, state) in run.states.iter().enumerate() {
            let failed = run.log.iter().filter(|line| **line == format!("{step} Failed")).count() as u32;
            prop_assert!(state.attempt <= failed + 1, "step {} was tried {} times", step, state.attempt);
        }
    }

    #[test]
    fn every_status_has_an_answer_to_every_event(status in 0..9usize, event in 0..9usize) {
        use {StepEvent as E, StepStatus as S};
        let statuses = [S::Pending, S::Running, S::Unknown, S::Done, S::Failed, S::Undoing, S::Undone, S::Stuck, S::Skipped];
        let events = [E::Started, E::Succeeded, E::Failed, E::OutcomeUnknown, E::UndoStarted, E::UndoSucceeded, E::UndoFailed, E::Retried, E::Skipped];
        if let Err(illegal) = statuses[status].next(events[event]) {
            prop_assert_eq!((illegal.status, illegal.event), (statuses[status], events[event]));
        }
    }
}

#[test]
fn a_failure_before_the_point_turns_back_and_one_at_it_rests() {
    let shape = |needs: &[usize], last: bool| Shape {
        needs: needs.to_vec(),
        timeout: 1_000,
        retries: 0,
        undoable: !last,
        undone_last: false,
        point_of_no_return: last,
        optional: false,
    };
    let shapes = vec![shape(&[], false), shape(&[0], false), shape(&[1], true)];
    let mut before = Run::new(shapes.clone());
    let end = before.play([Fate::Done, Fate::Failed].into_iter()).unwrap();
    assert_eq!((end, before.undone), (Next::CloseUndone, vec![0]));
    let mut at = Run::new(shapes);
    let end = at.play([Fate::Done, Fate::Done, Fate::Failed].into_iter()).unwrap();
    assert_eq!((end, at.undone), (Next::Rest(2), vec![]));
}

#[test]
fn what_needs_the_other_undos_is_undone_after_them() {
    let shape = |at: usize, undone_last: bool| Shape {
        needs: (0..at).collect(),
        timeout: 1_000,
        retries: 0,
        undoable: true,
        undone_last,
        point_of_no_return: false,
        optional: false,
    };
    let shapes = vec![shape(0, false), shape(1, true), shape(2, true), shape(3, false), shape(4, false)];
    let mut run = Run::new(shapes);
    let fates = [Fate::Done, Fate::Done, Fate::Done, Fate::Done, Fate::Failed];
    assert_eq!(run.play(fates.into_iter()).unwrap(), Next::CloseUndone);
    assert_eq!(run.undone, [3, 0, 2, 1]);
}
