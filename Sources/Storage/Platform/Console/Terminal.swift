import Glibc

/// The person at the terminal, asked on `/dev/tty` so that redirected streams do not matter.
package enum Terminal {
    /// Whether there is one, and standard input is it.
    package static var isThere: Bool { isatty(0) == 1 }

    /// Columns of the terminal at standard error.
    package static var width: Int {
        var size = winsize()
        return ioctl(2, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
    }

    /// Asks, and reads one line; nil at the end of the input.
    package static func ask(_ question: String) -> String? {
        StandardStreams.print(question, to: StandardStreams.error)
        return readLine(strippingNewline: true)
    }

    /// Asks without showing what is typed; nil where there is no terminal.
    package static func askSecret(_ question: String) -> String? {
        var before = termios()
        guard tcgetattr(0, &before) == 0 else { return nil }
        var silent = before
        silent.c_lflag &= ~tcflag_t(ECHO)
        guard tcsetattr(0, TCSAFLUSH, &silent) == 0 else { return nil }
        defer {
            tcsetattr(0, TCSAFLUSH, &before)
            StandardStreams.print("\n", to: StandardStreams.error)
        }
        return ask(question)
    }
}
