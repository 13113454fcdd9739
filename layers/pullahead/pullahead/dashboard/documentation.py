"""What the widget says of itself where CloudWatch asks for it: `{"describe": true}`."""

from typing import Final

DOCUMENTATION: Final = """\
## Pullahead: mirrors

How every mirrored tag stands against its upstream: state, since when it is not fresh, age of the copy, the last error,
and links to the repository and to the refresh that last published it. Worst first, 50 to a page. Below it a heat map
of the last seven days. It only reads.

### Widget parameters
Param | Description
---|---
**state** | Show one state only: BLOCKED, GONE, STALE, MISSING, UNKNOWN, DELETED or FRESH
**prefix** | Show mirrors whose `repository:tag` begins with this

### Example parameters
``` yaml
state: STALE
prefix: mirror/team-a/
```
"""
