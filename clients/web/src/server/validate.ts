/** Stands for the contract's `buf/validate/validate.proto`, whose rules the page does not read: the description of the rules would be 12 kB of the first screen. */

import { fileDesc } from "@bufbuild/protobuf/codegenv2";

export const file_buf_validate_validate = fileDesc("ChtidWYvdmFsaWRhdGUvdmFsaWRhdGUucHJvdG9iBnByb3RvMw");
