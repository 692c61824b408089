# MRT_REQUIRE(VARIABLE, PKG-CONFIG-SPEC, DEBIAN-PACKAGE)
# A library found by pkg-config, or an error that says what to install.
AC_DEFUN([MRT_REQUIRE], [
  PKG_CHECK_MODULES([$1], [$2], [],
    [AC_MSG_ERROR([$2 is missing or too old: apt-get install $3
($$1_PKG_ERRORS)])])
])

# MRT_SYSTEMD_DIRECTORY(NAME, PKG-CONFIG-VARIABLE, DEFAULT, WHAT)
# --with-NAME=DIR, else where systemd.pc says when installing below /usr, else DEFAULT.
AC_DEFUN([MRT_SYSTEMD_DIRECTORY], [
  AC_ARG_WITH([$1],
    [AS_HELP_STRING([--with-$1=DIR], [where systemd looks for $4])],
    [$1="$withval"],
    [$1='$3'
     AS_IF([test "$prefix" = /usr],
       [found=$($PKG_CONFIG --variable=$2 systemd 2>/dev/null)
        AS_IF([test -n "$found"], [$1="$found"])])])
  AC_SUBST([$1])
])

# MRT_C_FLAGS(VARIABLE, FLAGS): append to VARIABLE those of FLAGS that the compiler takes.
AC_DEFUN([MRT_C_FLAGS], [
  for flag in $2; do
    AC_MSG_CHECKING([whether $CC takes $flag])
    saved_CFLAGS="$CFLAGS"
    CFLAGS="$CFLAGS -Werror $flag"
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])],
      [AC_MSG_RESULT([yes]); $1="$$1 $flag"],
      [AC_MSG_RESULT([no])])
    CFLAGS="$saved_CFLAGS"
  done
  AC_SUBST([$1])
])

# MRT_LINK_FLAGS(VARIABLE, FLAGS): append to VARIABLE those of FLAGS that the linker takes.
AC_DEFUN([MRT_LINK_FLAGS], [
  for flag in $2; do
    AC_MSG_CHECKING([whether linking takes $flag])
    saved_CFLAGS="$CFLAGS"; saved_LDFLAGS="$LDFLAGS"
    CFLAGS="$CFLAGS $HARDENING_CFLAGS"; LDFLAGS="$LDFLAGS -Werror $flag"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
      [AC_MSG_RESULT([yes]); $1="$$1 $flag"],
      [AC_MSG_RESULT([no])])
    CFLAGS="$saved_CFLAGS"; LDFLAGS="$saved_LDFLAGS"
  done
  AC_SUBST([$1])
])
