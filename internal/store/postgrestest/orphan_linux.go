package postgrestest

import "syscall"

// endWithUs has a process end when the thread that starts it does.
func endWithUs(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGQUIT }
