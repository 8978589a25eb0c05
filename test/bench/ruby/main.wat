;; A command that shows Ruby's version without starting its interpreter, so that
;; what takes time is the module.
(module
  (import "ruby" "_initialize" (func $initialize))
  (import "ruby" "ruby-show-version: func() -> ()" (func $show_version))
  (func (export "_start")
    (call $initialize)
    (call $show_version)))
