//! Small parts between the pipeline and hardware, over the embedded-hal traits.

use embedded_hal::digital::OutputPin;

/// A pin that is high while the board encodes: an oscilloscope on it shows the time of an image.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BusyPin<P> {
    pin: P,
}

impl<P: OutputPin> BusyPin<P> {
    /// Takes the pin and sets it low.
    ///
    /// # Errors
    /// If the pin cannot be set.
    pub fn new(mut pin: P) -> Result<Self, P::Error> {
        pin.set_low()?;
        Ok(Self { pin })
    }

    /// Runs `work` with the pin high.
    ///
    /// # Errors
    /// If the pin cannot be set; `work` has then run unless it was the first setting that failed.
    pub fn during<T>(&mut self, work: impl FnOnce() -> T) -> Result<T, P::Error> {
        self.pin.set_high()?;
        let result = work();
        self.pin.set_low()?;
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::{cell::RefCell, convert::Infallible};

    struct Recorder<'a>(&'a RefCell<Vec<&'static str>>);

    impl embedded_hal::digital::ErrorType for Recorder<'_> {
        type Error = Infallible;
    }

    impl OutputPin for Recorder<'_> {
        fn set_low(&mut self) -> Result<(), Infallible> {
            self.0.borrow_mut().push("low");
            Ok(())
        }
        fn set_high(&mut self) -> Result<(), Infallible> {
            self.0.borrow_mut().push("high");
            Ok(())
        }
    }

    #[test]
    fn the_pin_is_high_during_the_work_only() {
        let log = RefCell::new(Vec::new());
        let mut pin = BusyPin::new(Recorder(&log)).unwrap();
        let result = pin.during(|| {
            log.borrow_mut().push("work");
            7
        });
        assert_eq!(result, Ok(7));
        assert_eq!(*log.borrow(), ["low", "high", "work", "low"]);
    }
}
