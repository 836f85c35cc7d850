;; Bytes that are no module.
;; nothing
(assert_malformed (module binary "") "refused")
;; half a magic number
(assert_malformed (module binary "\00\61\73") "refused")
;; another magic number
(assert_malformed (module binary "\01\61\73\6d\01\00\00\00") "refused")
;; no version
(assert_malformed (module binary "\00\61\73\6d") "refused")
;; half a version
(assert_malformed (module binary "\00\61\73\6d\01\00") "refused")
;; version 2
(assert_malformed (module binary "\00\61\73\6d\02\00\00\00") "refused")
;; version 0
(assert_malformed (module binary "\00\61\73\6d\00\00\00\00") "refused")
;; a section of no known kind
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\7f\00") "refused")
;; a section longer than the module
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\01\05\01") "refused")
;; a section of 4 GiB
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\01\ff\ff\ff\ff\0f") "refused")
;; a length in six bytes
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\01\81\80\80\80\80\00") "refused")
;; a length beyond 32 bits
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\01\ff\ff\ff\ff\1f") "refused")
;; a length that never ends
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\01\80\80\80\80\80\80\80\80\80\80\80\80\80\80\80\80\80\80\80\80") "refused")
;; more types than bytes
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\01\05\ff\ff\ff\ff\0f") "refused")
;; a type of no form
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\01\04\01\20\00\00") "refused")
;; a type twice its section
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\01\04\01\60\00\00\01\04\01\60\00\00") "refused")
;; sections in the wrong order
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\03\02\01\00\01\04\01\60\00\00") "refused")
;; functions without code
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\01\04\01\60\00\00\03\02\01\00") "refused")
;; code without functions
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\0a\04\01\02\00\0b") "refused")
;; a body longer than its section
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\01\04\01\60\00\00\03\02\01\00\0a\04\01\09\00\0b") "refused")
;; a body without an end
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\01\04\01\60\00\00\03\02\01\00\0a\04\01\02\00\01") "refused")
;; four thousand million locals, twice
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\01\04\01\60\00\00\03\02\01\00\0a\10\01\0e\02\ff\ff\ff\ff\0f\7f\ff\ff\ff\ff\0f\7f\0b") "refused")
;; an opcode that does not exist
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\01\04\01\60\00\00\03\02\01\00\0a\05\01\03\00\ff\0b") "refused")
;; a prefix without its opcode
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\01\04\01\60\00\00\03\02\01\00\0a\05\01\03\00\fc\0b") "refused")
;; bytes after the last section
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\01\04\01\60\00\00\55") "refused")
;; a name that is no UTF-8
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\01\04\01\60\00\00\02\07\01\01\ff\01\61\00\00") "refused")
;; a custom section without a name
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\00\00") "refused")
;; a custom section whose name is longer than it
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\00\02\05\61") "refused")
;; an export of no kind
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\07\05\01\01\61\09\00") "refused")
;; a limit with unknown flags
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\05\03\01\88\00") "refused")
;; a mutable that is neither
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\06\06\01\7f\02\41\00\0b") "refused")
;; a data count that lies
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\05\03\01\00\01\0c\01\02\0b\07\01\00\41\00\0b\01\61") "refused")
;; a start section twice
(assert_malformed (module binary "\00\61\73\6d\01\00\00\00\01\04\01\60\00\00\03\02\01\00\08\01\00\08\01\00") "refused")
;; the header of a component, and no more
(assert_malformed (module binary "\00\61\73\6d\0d\00\01\00") "refused")
